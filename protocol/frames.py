"""The messages that front end, nursery and workers exchange.

Each message is a ``NamedTuple``: immutable, declared with types, and cheap enough to be built
for every batch (``docs/decisions.md`` has the measurement). Field types are checked when a
frame is *decoded* (`codec`), because only then the values come from another process; code that
builds a frame is checked by mypy.

Two kinds of fields travel in two ways. Everything but bodies is packed by msgpack into the
frame's header. Bodies are raw segments behind it, so that no body is ever copied into a packer.

Header pairs (`Headers`) are flat: ``[name, value, name, value, …]``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

PROTOCOL_VERSION: Final = 6
"""Raised with every incompatible change; both sides of a socket must have the same."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""A body; a view must be one of single bytes, so that its length is its size."""
Headers: TypeAlias = list[bytes]
Pairs: TypeAlias = Annotated[list[str], "an even number"]
"""``[name, value, name, value, …]`` of texts."""


class Hello(NamedTuple):
    """Worker → front end, first frame of a connection.

    Attributes:
        version: the worker's `PROTOCOL_VERSION`.
        worker_id: which worker this is, as the front end named it.
        token: the secret the front end gave to that worker; nobody else may take its place.
        pid: operating-system process id.
    """

    version: int
    worker_id: str
    token: str
    pid: int


class Load(NamedTuple):
    """Front end → worker: load this model. Answered by `Loaded` or `LoadFailure`.

    Attributes:
        model_name: the registered name.
        model_dir: folder with the unpacked archive.
        handler: handler string of the manifest or the registration.
        envelope: name of a request envelope, or "".
        batch_size: rows per batch at most.
        gpu_id: accelerator to use, -1 for the CPU.
        limit_max_image_pixels: whether Pillow's decompression-bomb limit stays on.
        max_response_bytes: an encoded answer above this becomes a `ResponseTooLarge`.
        decode_input: decode JSON and text inputs before the handler sees them.
        metrics_config: path of the metrics YAML file, or "" for the built-in set.
        answers: whether it answers batches. Of the processes that serve a model together only
            the first one does; the others run the same batches and say `Done`.
        is_async: the handler is a coroutine function; batches overlap, and are answered in any
            order.
        busy_poll_us: how long the worker may stay awake for its next batch, microseconds.
    """

    model_name: str
    model_dir: str
    handler: str
    envelope: str
    batch_size: int
    gpu_id: int
    limit_max_image_pixels: bool
    max_response_bytes: int
    decode_input: bool
    metrics_config: str
    answers: bool = True
    is_async: bool = False
    busy_poll_us: int = 0


class Loaded(NamedTuple):
    """Worker → front end: the handler is ready.

    Attributes:
        load_ms: how long import and ``initialize`` took, in milliseconds.
    """

    load_ms: float


class LoadFailure(NamedTuple):
    """Worker → front end: the handler cannot be loaded; the worker exits after it.

    Attributes:
        code: code of an error class (`errors`).
        reason: the last line of the traceback, for the operator's terminal and log;
            never answered to a client.
    """

    code: str
    reason: str


class Part(NamedTuple):
    """One named value of a request.

    Attributes:
        name: parameter name; ``body`` for a plain request body.
        content_type: media type without parameters, "" when the client gave none.
        body: the raw value, shape ``(size,)`` bytes.
    """

    name: str
    content_type: str
    body: Buffer


class Row(NamedTuple):
    """One request of a batch.

    Attributes:
        request_id: what ``context.get_request_id`` answers.
        headers: the client's header pairs, in order, as received (latin-1).
        properties: pairs that the server adds or overrides (``explain``, ``url_path``, …).
        parts: the request's values in order; repeated names are kept.
    """

    request_id: str
    headers: Headers
    properties: list[str]
    parts: list[Part]


new_part: Final[Callable[[tuple[str, str, Buffer]], Part]] = partial(tuple.__new__, Part)
new_row: Final[Callable[[tuple[str, Headers, list[str], list[Part]]], Row]] = partial(
    tuple.__new__, Row
)
"""A `Part` or `Row` of a tuple: for the way of a request, at two thirds of the price."""


class Predict(NamedTuple):
    """Front end → worker: run the handler on these rows. Answered by `Result` or `Failure`.

    Attributes:
        batch_id: number that the answer repeats; unique per connection.
        rows: 1 to ``batch_size`` rows.
    """

    batch_id: int
    rows: list[Row]


class Reply(NamedTuple):
    """The answer to one row.

    Attributes:
        status: HTTP status, 0 when the handler set none.
        phrase: reason phrase the handler gave, or "".
        headers: header pairs the handler set, text.
        error: "" for an answer, else the code of an error class; ``body`` is then its message.
        body: the encoded answer.
    """

    status: int
    phrase: str
    headers: list[str]
    error: str
    body: Buffer


new_reply: Final[Callable[[tuple[int, str, list[str], str, Buffer]], Reply]] = partial(
    tuple.__new__, Reply
)


class Result(NamedTuple):
    """Worker → front end: one `Reply` for each row of a batch, in the order of the rows.

    Attributes:
        batch_id: the batch answered.
        service_us: time inside the handler call, in microseconds.
        replies: as many as the batch had rows.
    """

    batch_id: int
    service_us: int
    replies: list[Reply]


new_result: Final[Callable[[tuple[int, int, list[Reply]]], Result]] = partial(tuple.__new__, Result)


class Chunk(NamedTuple):
    """Worker → front end: an intermediate answer to one row of a running batch.

    Attributes:
        batch_id: the running batch.
        row: which row, from 0.
        status: HTTP status, 0 when the handler set none; only the first chunk's counts.
        phrase: reason phrase, or "".
        headers: header pairs set so far; only the first chunk's count.
        body: the encoded value.
    """

    batch_id: int
    row: int
    status: int
    phrase: str
    headers: list[str]
    body: Buffer


new_chunk: Final[Callable[[tuple[int, int, int, str, list[str], Buffer]], Chunk]] = partial(
    tuple.__new__, Chunk
)


class Failure(NamedTuple):
    """Worker → front end: the whole batch failed.

    Attributes:
        batch_id: the batch answered.
        code: code of an error class.
        message: message for the client, "" for the class's own.
        status: the handler's status with ``prediction_error``, else 0.
    """

    batch_id: int
    code: str
    message: str
    status: int


class Cancel(NamedTuple):
    """Front end → worker: nobody waits for this row any more. Has no answer.

    Attributes:
        batch_id: batch of the row.
        row: which row, from 0.
    """

    batch_id: int
    row: int


class MetricRecord(NamedTuple):
    """One update of a handler's metric.

    Attributes:
        name: metric name.
        unit: long name of the unit, such as ``Milliseconds``.
        kind: ``COUNTER``, ``GAUGE`` or ``HISTOGRAM``.
        value: the increment of a counter, else the observed value.
        dimensions: flat ``[name, value, …]`` pairs.
        request_ids: ids joined by commas, "" outside of a request.
        timestamp: seconds since the epoch.
    """

    name: str
    unit: str
    kind: str
    value: float
    dimensions: Pairs
    request_ids: str
    timestamp: int


class Metrics(NamedTuple):
    """Worker → front end: metric updates since the last such frame."""

    records: list[MetricRecord]


class Ping(NamedTuple):
    """Front end → worker, answered by `Pong` between two batches."""

    nonce: int


class Pong(NamedTuple):
    """Worker → front end: the worker reads its socket."""

    nonce: int


class Done(NamedTuple):
    """Worker that does not answer → front end: it has run a batch, well or not.

    Attributes:
        batch_id: which one.
    """

    batch_id: int


class Shutdown(NamedTuple):
    """Front end → worker: finish what has been received, then exit with code 0."""

    reason: str


# -- the nursery's control socket ----------------------------------------------------------


class Fork(NamedTuple):
    """Front end → nursery: fork a worker. Two descriptors (stdout, stderr) come with it.

    Attributes:
        worker_id: name of the new worker.
        argv: arguments of ``tsl.backend`` for it.
        environ: flat ``[name, value, …]`` environment of the worker.
        model_dir: its working directory.
        preload: modules that must be imported in the nursery before the fork.
        share: name under which the model is loaded once for all workers that share it, or "".
        load: with ``share``, the encoded `Load` frame the worker is going to get, else b"".
    """

    worker_id: str
    argv: list[str]
    environ: Pairs
    model_dir: str
    preload: list[str]
    share: str
    load: bytes


class Forked(NamedTuple):
    """Nursery → front end: the worker runs."""

    worker_id: str
    pid: int


class ForkRefused(NamedTuple):
    """Nursery → front end: forking is not safe here; start the worker afresh."""

    worker_id: str
    reason: str


class Exited(NamedTuple):
    """Nursery → front end: a forked worker ended.

    Attributes:
        worker_id: which one.
        returncode: exit code, or minus the signal number, as ``subprocess`` has it.
    """

    worker_id: str
    returncode: int


class Unshare(NamedTuple):
    """Front end → nursery: no worker will share this model any more; forget it.

    Attributes:
        share: the name that the `Fork` frames for it had.
    """

    share: str


class Preload(NamedTuple):
    """Front end → nursery, before anything else: what the workers to come are likely to need.

    Attributes:
        modules: to be imported.
        environ: flat ``[name, value, …]`` variables that the nursery was started without.
    """

    modules: list[str]
    environ: Pairs


Frame: TypeAlias = (
    Hello
    | Load
    | Loaded
    | LoadFailure
    | Predict
    | Result
    | Chunk
    | Failure
    | Cancel
    | Metrics
    | Ping
    | Pong
    | Shutdown
    | Fork
    | Forked
    | ForkRefused
    | Exited
    | Unshare
    | Done
    | Preload
)

FRAME_TYPES: Final[tuple[type[Any], ...]] = (
    Hello,
    Load,
    Loaded,
    LoadFailure,
    Predict,
    Result,
    Chunk,
    Failure,
    Cancel,
    Metrics,
    Ping,
    Pong,
    Shutdown,
    Fork,
    Forked,
    ForkRefused,
    Exited,
    Unshare,
    Done,
    Preload,
)
"""Position in this tuple is the type number on the wire: append only."""
