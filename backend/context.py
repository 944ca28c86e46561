"""What a handler can ask about its model and its requests, and say about its answers.

The names and their odd corners (argument orders, silent no-ops) are TorchServe's: handlers in
the field depend on them. Everything about a single request is built when a handler first asks
for it, because most handlers never do.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from tsl.protocol.frames import Row

_T = TypeVar("_T")

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS_A_LINE: Final = re.compile(r"[\r\n\0]")
_NO_HEADERS: Final[list[str]] = []
_NOT_FOR_HANDLERS: Final = frozenset({"expect", "transfer-encoding"})


class Line(Protocol):
    """What the context needs of the running batch's line to the front end."""

    def is_cancelled(self, row: int) -> bool:
        """Whether nobody waits for this row any more."""


class RequestProcessor:
    """One request's headers, and the status and headers of the answer to it.

    Args:
        request_header: header name, in the client's spelling, to value.
    """

    __slots__ = ("_phrase", "_request_header", "_response_header", "_row", "_status")

    def __init__(self, request_header: dict[str, Any]) -> None:
        self._request_header: dict[str, Any] | None = request_header
        self._row: Row | None = None
        self._status = 0
        self._phrase: str | None = None
        self._response_header: dict[str, str] = {}

    @classmethod
    def from_row(cls, row: Row) -> RequestProcessor:
        """Make one whose header dict is built when it is first asked for."""
        processor = cls({})
        processor._request_header = None
        processor._row = row
        return processor

    def get_request_property(self, key: str) -> Any:
        """Value of a request header in exactly this spelling, or None."""
        return self.get_request_properties().get(key)

    def get_request_properties(self) -> dict[str, Any]:
        """All request headers."""
        if self._request_header is None:
            self._request_header = {} if self._row is None else _header_of(self._row)
        return self._request_header

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Set the status of the answer.

        Args:
            code: HTTP status, 200 to 599.
            reason_phrase: reason phrase.

        Raises:
            ValueError: this is no status of an answer, or the phrase breaks the status line.
        """
        status = int(code)
        if not 200 <= status <= 599:
            msg = f"{code!r} is no HTTP status of an answer; use 200 to 599"
            raise ValueError(msg)
        self._phrase = None if reason_phrase is None else _one_line("reason phrase", reason_phrase)
        self._status = status

    def get_response_status_code(self) -> int:
        """HTTP status of the answer."""
        return self._status or 200

    def get_response_status_phrase(self) -> str | None:
        """Reason phrase of the answer, None when none was set."""
        return self._phrase

    def add_response_property(self, key: str, value: str) -> None:
        """Set a header of the answer.

        Args:
            key: header name.
            value: header value; anything but a str is converted by ``str``.

        Raises:
            ValueError: the name is no header name, or the value has a line break in it.
        """
        name = str(key)
        if _TOKEN.fullmatch(name) is None:
            msg = f"{name!r} is no name of a response header"
            raise ValueError(msg)
        self._response_header[name] = _one_line(f"response header {name}", value)

    def get_response_headers(self) -> dict[str, str]:
        """All headers set so far."""
        return self._response_header

    def get_response_header(self, key: str) -> str | None:
        """A header set before, or None."""
        return self._response_header.get(key)

    def reply_head(self) -> tuple[int, str, list[str]]:
        """What a frame says about the answer beside its body.

        Returns:
            Status (0 when none was set), phrase, and flat header pairs. Of names that differ
            only in case, the one set last remains.
        """
        headers = {name.lower(): (name, value) for name, value in self._response_header.items()}
        return (
            self._status,
            self._phrase or "",
            [text for pair in headers.values() for text in pair],
        )


def _one_line(what: str, value: Any) -> str:
    text = str(value)
    if _BREAKS_A_LINE.search(text):
        msg = f"{what} must not contain line breaks or NUL"
        raise ValueError(msg)
    text.encode()  # half a surrogate pair is a UnicodeEncodeError, which is a ValueError
    return text


def _header_of(row: Row) -> dict[str, Any]:
    """Build a request's header dict: parameters' types, the client's headers, the server's."""
    header: dict[str, Any] = {part.name: {"content-type": part.content_type} for part in row.parts}
    has_length = not row.headers  # no headers at all: not HTTP, nothing to complete
    for raw_name, raw_value in _pairs(row.headers):
        name = raw_name.decode("latin-1")
        lower = name.lower()
        if lower in _NOT_FOR_HANDLERS:
            continue
        has_length = has_length or lower == "content-length"
        header[name] = raw_value.decode("latin-1")
    if not has_length:
        header["content-length"] = str(sum(len(part.body) for part in row.parts))
    header.update(_pairs(row.properties))
    return header


def _pairs(flat: Sequence[_T]) -> Iterator[tuple[_T, _T]]:
    items = iter(flat)
    return zip(items, items, strict=True)


class Context:
    """What a handler knows about its model and the batch it works on.

    One object serves all calls of a worker: a handler may keep it and may hang its own
    attributes on it.

    Args:
        model_name: the registered name.
        model_dir: folder with the unpacked archive.
        manifest: the archive's parsed manifest, None without one.
        batch_size: rows per batch at most.
        gpu: accelerator to use, None for the CPU.
        mms_version: version of the server.
        limit_max_image_pixels: whether Pillow's decompression-bomb limit stays on.
        metrics: the metrics cache.
        model_yaml_config: the parsed configuration file of the archive.

    Attributes:
        request_ids: row → request id of the running batch; None before the first call.
        stopping_criteria: one callable for each row, set by handlers of continuous batches; see
            `stopping.apply_stopping_criteria`. Stays until the handler replaces it.
        cl_socket: the line to the front end; exists from the first call on.
        chunk_encoder: takes a row's number and an intermediate answer to it, and returns what is
            sent instead; an envelope sets it.
    """

    cl_socket: Line
    chunk_encoder: Callable[[int, Any], Any] | None = None

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any] | None,
        batch_size: int,
        gpu: int | None,
        mms_version: str,
        limit_max_image_pixels: bool = True,
        metrics: Any = None,
        model_yaml_config: Any = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = model_yaml_config
        self.request_ids: dict[int, str] | None = None
        self.stopping_criteria: Any = None
        env = os.environ.get
        self.header_key_sequence_id = env("TS_REQUEST_SEQUENCE_ID", "ts_request_sequence_id")
        self.header_key_sequence_start = env(
            "TS_REQUEST_SEQUENCE_START", "ts_request_sequence_start"
        )
        self.header_key_sequence_end = env("TS_REQUEST_SEQUENCE_END", "ts_request_sequence_end")
        self._system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self._metrics = metrics
        self._rows: Sequence[Row] = ()
        self._request_processor: list[RequestProcessor] | None = None
        self._answer_headers: dict[int, list[str]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value

    @property
    def system_properties(self) -> dict[str, Any]:
        """Where and how the model is served.

        The keys are ``model_dir``, ``gpu_id`` (None on the CPU), ``batch_size``, ``server_name``,
        ``server_version`` and ``limit_max_image_pixels``.
        """
        return self._system_properties

    @property
    def metrics(self) -> Any:
        """The metrics cache."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        self._metrics = metrics

    @property
    def request_processor(self) -> list[RequestProcessor] | None:
        """One `RequestProcessor` for each row of the running batch; None outside of a call."""
        if self._request_processor is None and self._rows:
            self._request_processor = [RequestProcessor.from_row(row) for row in self._rows]
            for idx, headers in self._answer_headers.items():
                self.set_answer_headers(idx, headers)
        return self._request_processor

    @request_processor.setter
    def request_processor(self, processors: list[RequestProcessor] | None) -> None:
        self._request_processor = processors

    # The request.

    def get_request_id(self, idx: int = 0) -> str | None:
        """Id of a request, None when there is no such row."""
        return self.request_ids.get(idx) if self.request_ids else None

    def get_request_header(self, idx: int, key: str) -> Any:
        """A request header in exactly the client's spelling, or None."""
        return self._processor(idx).get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """All request headers; parameters' content types are in it too."""
        return self._processor(idx).get_request_properties()

    def get_sequence_id(self, idx: int) -> Any:
        """The sequence a request of a stateful model belongs to, or None."""
        return self.get_request_header(idx, self.header_key_sequence_id)

    def is_cancelled(self, idx: int = 0) -> bool:
        """Whether the client of this row is gone, so that its answer is of no use.

        Looks at the socket, which costs about two microseconds.
        """
        line = getattr(self, "cl_socket", None)
        return line is not None and line.is_cancelled(idx)

    # The answer.

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the content type of an answer."""
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        """The content type set before, or None."""
        return self._processor(idx).get_response_header("content-type")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the HTTP status of one answer; does nothing outside of a call.

        Raises:
            ValueError: see `RequestProcessor.report_status`.
        """
        if self.request_processor is not None:
            self._processor(idx).report_status(code, reason_phrase=phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Set the HTTP status of all answers of the batch; does nothing outside of a call."""
        for processor in self.request_processor or ():
            processor.report_status(code, reason_phrase=phrase)

    def get_response_status(self, idx: int) -> tuple[int, str | None]:
        """Status and reason phrase of an answer."""
        processor = self._processor(idx)
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of one answer.

        Raises:
            ValueError: see `RequestProcessor.add_response_property`.
        """
        self._processor(idx).add_response_property(key, value)

    def set_answer_headers(self, idx: int, headers: list[str]) -> None:
        """Set several headers of one answer, which an envelope knows to be valid.

        Costs next to nothing as long as the handler has not looked at any request.

        Args:
            idx: number of the row.
            headers: flat pairs of names and values; may be shared, and is not changed.
        """
        if self._request_processor is None:
            self._answer_headers[idx] = headers
            return
        processor = self._request_processor[idx]
        for name, value in zip(headers[::2], headers[1::2], strict=True):
            processor.add_response_property(name, value)

    def get_response_headers(self, idx: int) -> Mapping[str, str]:
        """Headers of an answer set so far."""
        return self._processor(idx).get_response_headers()

    def _processor(self, idx: int) -> RequestProcessor:
        processors = self.request_processor
        if processors is None:
            msg = "there is no request: the context knows requests only during a call of handle"
            raise TypeError(msg)
        return processors[idx]

    # For the service.

    def begin_batch(self, rows: Sequence[Row], line: Line) -> None:
        """Make the context speak of a new batch.

        Args:
            rows: its requests.
            line: where intermediate answers go.
        """
        self._rows = rows
        self._request_processor = None
        self._answer_headers = {}
        self.request_ids = {index: row.request_id for index, row in enumerate(rows)}
        self.cl_socket = line

    def for_call(self) -> Context:
        """A context for one of several calls that run at the same time.

        What the handler hung on this one while loading is copied, so that no call sees what
        another one does to it; what cannot be copied is shared.
        """
        context = copy.copy(self)
        for name, value in self.__dict__.items():
            if name not in _OWN_ATTRIBUTES:
                with contextlib.suppress(Exception):  # anything may come out of user code
                    setattr(context, name, copy.deepcopy(value))
        context._metrics = copy.copy(self._metrics)  # noqa: SLF001  # has the ids of one call
        return context

    def end_batch(self) -> None:
        """Let go of the batch, so that an idle worker does not hold on to a big request."""
        self._rows = ()
        self._request_processor = None
        self._answer_headers = {}

    @property
    def is_untouched(self) -> bool:
        """Whether nobody asked for anything that could have set a status or a header."""
        return self._request_processor is None and not self._answer_headers

    def reply_head(self, idx: int) -> tuple[int, str, list[str]]:
        """Status (0 when none was set), phrase and flat header pairs of an answer."""
        if self._request_processor is None:
            return 0, "", self._answer_headers.get(idx, _NO_HEADERS)
        return self._request_processor[idx].reply_head()


_OWN_ATTRIBUTES: Final = frozenset(Context("", "", None, 1, None, "").__dict__) | {"cl_socket"}
"""What every context has; all others are the handler's."""
