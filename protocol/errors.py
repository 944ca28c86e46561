"""Every error tsl raises, with its wire code and the statuses it is answered with.

This is the only place in the code base where a status is chosen. A `TslError`
knows four things about itself:

* ``code``: a stable string; it travels in frames and names the class on the other side,
* ``http_status``: what TorchServe answers in this situation (``status_codes=torchserve``),
* ``standard_status``: what HTTP says it should be (``status_codes=standard``); the same
  number unless a class sets it,
* ``grpc_status``: the name of the gRPC status code.

``type_name`` is the ``type`` member of an error document. Its values are TorchServe's,
because clients switch on them.

The tree::

    TslError
    ├── InvalidRequest            400
    │   ├── MalformedHttp         400
    │   ├── UriTooLong            400 (standard 414)
    │   ├── HeadersTooLarge       400 (standard 431)
    │   ├── InvalidInput          400
    │   ├── InvalidParameter      400
    │   └── InvalidTokenRequest   400
    ├── Unauthorized              400 (standard 401)
    │   └── WrongKey              400 (standard 403)
    ├── Forbidden                 403
    ├── HttpsRequired             403 (standard 400)
    ├── UrlNotAllowed             404 (standard 403)
    ├── ResourceNotFound          404
    ├── ModelNotFound             404
    ├── VersionNotFound           404
    ├── MethodNotAllowed          405
    ├── Conflict                  409
    ├── InvalidArchive            400
    │   └── DependenciesFailed    400
    ├── DownloadFailed            400
    ├── PayloadTooLarge           413
    ├── ExpectationFailed         417
    ├── RequestTimeout            408
    ├── DeadlineExceeded          408 (standard 504)
    ├── JobCancelled              499
    ├── ServiceUnavailable        503
    │   ├── NoWorkers             503
    │   ├── QueueFull             503 (standard 429)
    │   └── ShuttingDown          503
    ├── HandlerError              500
    │   ├── HandlerFailed         503 (standard 500)
    │   ├── InvalidOutput         503 (standard 500)
    │   ├── ResponseTooLarge      500
    │   ├── OutOfMemory           507
    │   ├── WorkerDied            500
    │   ├── WorkerKilled          507
    │   ├── ResponseTimeout       500 (standard 504)
    │   ├── LoadFailed            500
    │   ├── NotEnoughDevices      500
    │   └── LoadOutOfMemory       507
    ├── PredictionError           as the handler says
    ├── Unsupported               501
    ├── ProtocolError             500
    └── InternalError             500

`ConfigError` is not part of the tree: it never reaches a client, it ends the command line.
"""

from __future__ import annotations

from typing import ClassVar, Final


class ConfigError(Exception):
    """The server cannot start with what it was given.

    Attributes:
        problems: one sentence for each thing that is wrong; all are reported at once.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = problems


class TslError(Exception):
    """Base of every error that can be answered to a client.

    Args:
        message: what happened, for the person who reads the answer.
        hint: what to do next; appended to the message in the answer.
    """

    code: ClassVar[str] = "error"
    type_name: ClassVar[str] = "InternalServerException"
    http_status: ClassVar[int] = 500
    standard_status: ClassVar[int] = 0  # 0: the same as http_status
    grpc_status: ClassVar[str] = "INTERNAL"
    default_message: ClassVar[str] = "The server failed."
    retry_after_s: ClassVar[int | None] = None

    _by_code: ClassVar[dict[str, type[TslError]]] = {}

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or self.default_message
        self.hint = hint
        super().__init__(self.message)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.code in TslError._by_code:
            msg = f"error code {cls.code!r} is used twice"
            raise TypeError(msg)
        TslError._by_code[cls.code] = cls

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def status(self, *, standard: bool = False) -> int:
        """HTTP status of this error.

        Args:
            standard: use the status that HTTP asks for instead of TorchServe's.
        """
        return (standard and self.standard_status) or self.http_status

    @property
    def grpc_name(self) -> str:
        """Name of the gRPC status."""
        return self.grpc_status

    @property
    def wire_status(self) -> int:
        """The status a frame carries beside the code: 0, but for a `PredictionError`."""
        return 0

    @staticmethod
    def from_wire(code: str, message: str, status: int = 0) -> TslError:
        """Build the error that a frame names.

        Args:
            code: the ``code`` of a class of this tree.
            message: its message; empty for the default one.
            status: the status a handler chose; only `PredictionError` uses it.

        Raises:
            ProtocolError: there is no such code.
        """
        cls = TslError._by_code.get(code)
        if cls is None:
            msg = f"unknown error code {code!r}"
            raise ProtocolError(msg)
        if cls is PredictionError:
            return PredictionError(message, status)
        return cls(message)


# -- the client's mistakes ------------------------------------------------------------


class InvalidRequest(TslError):
    """The request cannot be understood."""

    code = "invalid_request"
    type_name = "BadRequestException"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"
    default_message = "The request is not valid."


class MalformedHttp(InvalidRequest):
    """The bytes on the connection are not HTTP/1.x as RFC 9112 defines it."""

    code = "malformed_http"
    default_message = "Invalid HTTP message."


class UriTooLong(InvalidRequest):
    """The request line is longer than the limit."""

    code = "uri_too_long"
    standard_status = 414
    default_message = "The request line is too long."


class HeadersTooLarge(InvalidRequest):
    """The header section is larger than the limit."""

    code = "headers_too_large"
    standard_status = 431
    default_message = "The request headers are too large."


class InvalidInput(InvalidRequest):
    """The body contradicts the protocol that the model speaks (an envelope says so)."""

    code = "invalid_input"
    default_message = "The request body does not fit the protocol of the model."


class InvalidParameter(InvalidRequest):
    """A parameter of a management call has a wrong value; the message names it."""

    code = "invalid_parameter"


class Unauthorized(TslError):
    """The token is missing, wrong or expired."""

    code = "unauthorized"
    type_name = "InvalidKeyException"
    http_status = 400
    standard_status = 401
    grpc_status = "PERMISSION_DENIED"  # as TorchServe's clients know it
    default_message = (
        "Token Authorization failed. Token either incorrect, expired, or not provided correctly."
    )


class WrongKey(Unauthorized):
    """The token is one of this server's keys, but not the one for this request."""

    code = "wrong_key"
    standard_status = 403


class InvalidTokenRequest(InvalidRequest):
    """``/token`` was not told which key to renew."""

    code = "invalid_token_request"
    type_name = "InvalidKeyException"


class Forbidden(TslError):
    """The request is understood and refused."""

    code = "forbidden"
    type_name = "InvalidModelVersionException"
    http_status = 403
    grpc_status = "PERMISSION_DENIED"
    default_message = "This is not allowed."


class HttpsRequired(TslError):
    """A client speaks plain HTTP on a port with TLS."""

    code = "https_required"
    type_name = "HttpsRequiredException"
    http_status = 403
    standard_status = 400
    grpc_status = "FAILED_PRECONDITION"
    default_message = "This port accepts HTTPS requests only."


class UrlNotAllowed(TslError):
    """The archive's location is outside of what the server may read."""

    code = "url_not_allowed"
    type_name = "ModelNotFoundException"
    http_status = 404
    standard_status = 403
    grpc_status = "PERMISSION_DENIED"
    default_message = "The location of the archive is not allowed."


class ResourceNotFound(TslError):
    """No route has this path."""

    code = "resource_not_found"
    type_name = "ResourceNotFoundException"
    http_status = 404
    grpc_status = "NOT_FOUND"
    default_message = (
        "Requested resource is not found; OPTIONS / on this port describes what there is."
    )


class ModelNotFound(TslError):
    """No model has this name."""

    code = "model_not_found"
    type_name = "ModelNotFoundException"
    http_status = 404
    grpc_status = "NOT_FOUND"
    default_message = "Model not found."


class VersionNotFound(TslError):
    """The model has no such version."""

    code = "version_not_found"
    type_name = "ModelVersionNotFoundException"
    http_status = 404
    grpc_status = "NOT_FOUND"
    default_message = "Model version not found."


class MethodNotAllowed(TslError):
    """The path exists, but not for this method."""

    code = "method_not_allowed"
    type_name = "MethodNotAllowedException"
    http_status = 405
    grpc_status = "FAILED_PRECONDITION"
    default_message = (
        "Requested method is not allowed; OPTIONS / on this port describes what there is."
    )


class Conflict(TslError):
    """The name and version are taken."""

    code = "conflict"
    type_name = "ConflictStatusException"
    http_status = 409
    grpc_status = "ABORTED"
    default_message = "The model version is already registered."


class InvalidArchive(TslError):
    """The archive, its manifest or its configuration cannot be used."""

    code = "invalid_archive"
    type_name = "InvalidModelException"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"
    default_message = "The model archive cannot be used."


class DependenciesFailed(InvalidArchive):
    """The Python packages that the model asks for cannot be installed."""

    code = "dependencies_failed"
    type_name = "ModelException"
    default_message = "The Python packages of the model cannot be installed."


class DownloadFailed(TslError):
    """The archive could not be fetched from its URL."""

    code = "download_failed"
    type_name = "DownloadArchiveException"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"
    default_message = "The model archive could not be downloaded."


class PayloadTooLarge(TslError):
    """The request body is larger than ``max_request_size``."""

    code = "payload_too_large"
    type_name = "RequestTooLargeException"
    http_status = 413
    grpc_status = "RESOURCE_EXHAUSTED"
    default_message = "The request body is too large."


class ExpectationFailed(TslError):
    """``Expect`` asks for something other than ``100-continue``."""

    code = "expectation_failed"
    type_name = "BadRequestException"
    http_status = 417
    grpc_status = "INVALID_ARGUMENT"
    default_message = "The only expectation this server meets is 100-continue."


class RequestTimeout(TslError):
    """The request, or an operation of the management API, took too long."""

    code = "request_timeout"
    type_name = "RequestTimeoutException"
    http_status = 408
    grpc_status = "DEADLINE_EXCEEDED"
    default_message = "The request was not received in time."


class DeadlineExceeded(TslError):
    """The job's own deadline passed before there was an answer."""

    code = "deadline_exceeded"
    type_name = "RequestTimeoutException"
    http_status = 408
    standard_status = 504
    grpc_status = "DEADLINE_EXCEEDED"
    default_message = "The deadline of the request passed before the model answered."


class JobCancelled(TslError):
    """The client left; nobody reads this answer (it shows in logs and metrics)."""

    code = "job_cancelled"
    type_name = "RequestCancelledException"
    http_status = 499
    grpc_status = "CANCELLED"
    default_message = "The client left before the answer."


# -- nobody to do the work -------------------------------------------------------------


class ServiceUnavailable(TslError):
    """The model cannot take the request now."""

    code = "service_unavailable"
    type_name = "ServiceUnavailableException"
    http_status = 503
    grpc_status = "UNAVAILABLE"
    default_message = "The model cannot take the request now."


class NoWorkers(ServiceUnavailable):
    """The model has no worker, and none is going to come by itself."""

    code = "no_workers"
    default_message = "The model has no worker to serve the request."


class QueueFull(ServiceUnavailable):
    """The model's job queue is full."""

    code = "queue_full"
    standard_status = 429
    grpc_status = "UNAVAILABLE"
    default_message = "The job queue of the model is full."
    retry_after_s = 1


class ShuttingDown(ServiceUnavailable):
    """The server, or the model version, is being stopped."""

    code = "shutting_down"
    default_message = "The server is shutting down."
    retry_after_s = 1


# -- the handler's and the worker's failures ------------------------------------------------


class HandlerError(TslError):
    """Base of what goes wrong on the worker's side."""

    code = "handler_error"


class HandlerFailed(HandlerError):
    """The handler raised an ordinary exception; its traceback is in the model log."""

    code = "handler_failed"
    http_status = 503
    standard_status = 500
    grpc_status = "UNAVAILABLE"
    default_message = "Prediction failed"


class InvalidOutput(HandlerError):
    """The handler returned something that is no answer."""

    code = "invalid_output"
    http_status = 503
    standard_status = 500
    grpc_status = "UNAVAILABLE"
    default_message = "Invalid model predict output"


class ResponseTooLarge(HandlerError):
    """The answer is larger than ``max_response_size``."""

    code = "response_too_large"
    default_message = "The answer of the model is larger than max_response_size."


class OutOfMemory(HandlerError):
    """The handler ran out of memory, on the host or the accelerator."""

    code = "out_of_memory"
    http_status = 507
    default_message = "Out of resources"


class WorkerDied(HandlerError):
    """The worker process ended while it had the request."""

    code = "worker_died"
    default_message = "Worker died."


class WorkerKilled(HandlerError):
    """The worker process got a SIGKILL that we did not send: most often the OOM killer."""

    code = "worker_killed"
    http_status = 507
    default_message = "Worker died."


class ResponseTimeout(HandlerError):
    """The handler did not answer within ``responseTimeout``."""

    code = "response_timeout"
    standard_status = 504
    grpc_status = "DEADLINE_EXCEEDED"
    default_message = "The model did not answer within its responseTimeout."


class LoadFailed(HandlerError):
    """The handler cannot be loaded."""

    code = "load_failed"
    default_message = "Failed to start workers."


class LoadOutOfMemory(HandlerError):
    """Loading the handler ran out of memory."""

    code = "load_out_of_memory"
    http_status = 507
    default_message = "Failed to start workers: out of memory."


class NotEnoughDevices(HandlerError):
    """A worker of the model needs more accelerators than there are."""

    code = "not_enough_devices"
    type_name = "WorkerInitializationException"
    default_message = "There are not enough accelerators for a worker of the model."


class PredictionError(TslError):
    """The handler raised a ``PredictionException`` with a status of its own choice.

    Args:
        message: the handler's words, handed on as they are.
        status: 200 to 599; anything else becomes 500.
    """

    code = "prediction_error"
    default_message = "Prediction failed"

    _GRPC_BY_STATUS: ClassVar[dict[int, str]] = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        409: "ABORTED",
        413: "RESOURCE_EXHAUSTED",
        416: "OUT_OF_RANGE",
        429: "RESOURCE_EXHAUSTED",
        499: "CANCELLED",
        501: "UNIMPLEMENTED",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    }

    def __init__(self, message: str = "", status: int = 500, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self._status = status if 200 <= status <= 599 else 500

    def status(self, *, standard: bool = False) -> int:
        """The handler's status, whichever statuses the server is configured for."""
        del standard
        return self._status

    @property
    def wire_status(self) -> int:
        """The handler's status."""
        return self._status

    @property
    def grpc_name(self) -> str:
        """Name of the gRPC status that corresponds to the handler's status."""
        named = self._GRPC_BY_STATUS.get(self._status)
        if named is not None:
            return named
        return "FAILED_PRECONDITION" if 400 <= self._status < 500 else "INTERNAL"


# -- our own failures --------------------------------------------------------------------


class Unsupported(TslError):
    """A known feature of the protocol that this server does not have."""

    code = "unsupported"
    type_name = "UnsupportedOperationException"
    http_status = 501
    grpc_status = "UNIMPLEMENTED"
    default_message = "This is not supported."


class ProtocolError(TslError):
    """A peer on a worker socket broke the frame protocol; it ends that worker."""

    code = "protocol_error"
    default_message = "Worker died."


class InternalError(TslError):
    """A bug of ours; the traceback is in the log."""

    code = "internal_error"
    default_message = "Internal error; the server's log has the details."
