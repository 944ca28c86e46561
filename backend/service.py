"""One loaded model: call its handler on a batch and make an answer of whatever comes back.

Decides what a result, or an exception, means. An exception fails the batch, because nobody
knows which row caused it, unless it is a `Regroup`, which says so; a result element that cannot
be sent fails its own row only. A batch with predictions and explanations in it is two calls,
because handlers take the kind of a batch from its first row.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

from tsl.protocol.errors import (
    HandlerFailed,
    InvalidInput,
    InvalidOutput,
    InvalidRequest,
    JobCancelled,
    OutOfMemory,
    PredictionError,
    TslError,
)
from tsl.protocol.frames import Failure, Predict, Reply, Result, Row
from tsl.protocol.safe_yaml import load_plain

from .context import Context
from .encoding import encode_element
from .regroup import Regroup, refuse_rows, split_rows
from .rows import decode_row
from .stopping import apply_stopping_criteria
from .streaming import ClientDisconnected, ReplyStream
from .util import PredictionException

PREDICTION_METRIC: Final = "PredictionTime"
WRONG_LENGTH: Final = "number of batch response mismatched"
MAX_RESPONSE_BYTES: Final = 6_553_500
_VERSION: Final = version("tsl")  # takes milliseconds: once for all workers that are forked

EntryPoint = Callable[[Any, Context], Any]


class Service:
    """A loaded model.

    Args:
        model_name: the registered name.
        model_dir: folder with the unpacked archive.
        manifest: the archive's parsed manifest, None without one.
        entry_point: called with ``(data, context)``, returns a list with one element per row.
        gpu: accelerator to use, None for the CPU.
        batch_size: rows per batch at most.
        limit_max_image_pixels: whether Pillow's decompression-bomb limit stays on.
        metrics_cache: the handler's ``context.metrics``.
        decode_input: decode JSON and text before the handler sees them.
        max_response_bytes: limit for one encoded answer.

    Attributes:
        context: the one context of all calls.
        decode_input: as given.
    """

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any] | None,
        entry_point: EntryPoint | None,
        gpu: int | None,
        batch_size: int,
        limit_max_image_pixels: bool = True,
        metrics_cache: Any = None,
        *,
        decode_input: bool = True,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self.context = Context(
            model_name,
            model_dir,
            manifest,
            batch_size,
            gpu,
            _VERSION,
            limit_max_image_pixels,
            metrics_cache,
            read_model_yaml(model_dir, manifest),
        )
        self._entry_point = entry_point
        self.decode_input = decode_input
        self._max_response_bytes = max_response_bytes

    @property
    def entry_point(self) -> EntryPoint | None:
        """What is called for a batch; None until the handler is loaded."""
        return self._entry_point

    @entry_point.setter
    def entry_point(self, entry_point: EntryPoint) -> None:
        self._entry_point = entry_point

    def predict(self, batch: Predict, stream: ReplyStream) -> Result | Failure:
        """Run the handler on a batch.

        Args:
            batch: what to work on; its rows are in queue order.
            stream: where intermediate answers go while the call runs.

        Returns:
            The frame that answers the batch.
        """
        return self._predict_part(batch, stream, None)

    def _predict_part(
        self, batch: Predict, stream: ReplyStream, numbers: Sequence[int] | None
    ) -> Result | Failure:
        """Run the handler on rows that have these numbers in the batch; None for all of them."""
        context = self.context
        context.begin_batch(batch.rows, stream)
        stream.open(batch, context, numbers)
        try:
            if len(batch.rows) > 1:
                _split_kinds(batch.rows)
            return self._predict(batch)
        except Regroup as plan:
            return self._predict_parts(batch, stream, numbers, plan)
        except Exception as error:  # the boundary to user code
            return self._failure(batch, stream, error)
        finally:
            stream.close()
            context.end_batch()

    def _predict(self, batch: Predict) -> Result | Failure:
        context = self.context
        metrics = context.metrics
        rows = batch.rows
        decode_input = self.decode_input
        try:
            data = [decode_row(row, decode_input=decode_input) for row in rows]
        except InvalidInput:
            refuse_rows(_undecodable(rows), len(rows))
            raise
        if metrics is not None:
            metrics.set_request_ids(",".join([row.request_id for row in rows]))
        if self._entry_point is None:
            raise RuntimeError("the model is not loaded")

        started = perf_counter_ns()
        answers = self._entry_point(data, context)
        return self._result(batch, answers, context, perf_counter_ns() - started)

    def _result(
        self, batch: Predict, answers: Any, context: Context, service_ns: int
    ) -> Result | Failure:
        """What the handler returned, as a frame."""
        if not isinstance(answers, list):
            return Failure(batch.batch_id, InvalidOutput.code, InvalidOutput.default_message, 0)
        if len(answers) != len(batch.rows):
            return Failure(batch.batch_id, InvalidOutput.code, WRONG_LENGTH, 0)
        if context.stopping_criteria:
            apply_stopping_criteria(context, answers)
        return Result(batch.batch_id, service_ns // 1000, self._replies(answers, context))

    def _predict_parts(
        self,
        batch: Predict,
        stream: ReplyStream,
        numbers: Sequence[int] | None,
        plan: Regroup,
    ) -> Result | Failure:
        """Answer a batch by several calls; a part that fails does so alone."""
        try:
            plan.check(len(batch.rows))
        except ValueError as error:
            return self._failure(batch, stream, error)
        replies: dict[int, Reply] = {}
        for row, refusal in plan.refused.items():
            write_log(f"Request {batch.rows[row].request_id}: {refusal}\n")
            replies[row] = Reply(refusal.wire_status, "", [], refusal.code, _text(refusal).encode())
        service_us = 0
        for group in plan.groups:
            part = batch._replace(rows=[batch.rows[row] for row in group])
            names = group if numbers is None else [numbers[row] for row in group]
            result = self._predict_part(part, stream, names)
            if isinstance(result, Result):
                service_us += result.service_us
                replies.update(zip(group, result.replies, strict=True))
            else:
                reply = Reply(result.status, "", [], result.code, result.message.encode())
                replies.update(dict.fromkeys(group, reply))
        return Result(batch.batch_id, service_us, [replies[row] for row in range(len(batch.rows))])

    def _replies(self, answers: Sequence[Any], context: Context) -> list[Reply]:
        limit = self._max_response_bytes
        replies = []
        for row, answer in enumerate(answers):
            if isinstance(answer, TslError):  # an envelope's verdict on one request of the batch
                replies.append(Reply(0, "", [], answer.code, str(answer).encode()))
                continue
            try:
                body = encode_element(answer, limit)
            except TslError as error:
                write_traceback(f"Row {row}, request {context.get_request_id(row)}:", error)
                replies.append(Reply(0, "", [], error.code, str(error).encode()))
                continue
            if context.is_untouched:
                replies.append(Reply(0, "", [], "", body))
            else:
                status, phrase, headers = context.reply_head(row)
                replies.append(Reply(status, phrase, headers, "", body))
        return replies

    async def predict_async(
        self, batch: Predict, stream: ReplyStream, context: Context
    ) -> Result | Failure:
        """Run a coroutine handler on a batch, beside others.

        Args:
            batch: what to work on.
            stream: its own line to the front end.
            context: its own context, see `Context.for_call`.

        Returns:
            The frame that answers the batch.

        Raises:
            asyncio.CancelledError: the call was cancelled.
        """
        context.begin_batch(batch.rows, stream)
        stream.open(batch, context)
        try:
            data = [decode_row(row, decode_input=self.decode_input) for row in batch.rows]
            if context.metrics is not None:
                context.metrics.set_request_ids(",".join([row.request_id for row in batch.rows]))
            if self._entry_point is None:
                raise RuntimeError("the model is not loaded")
            started = perf_counter_ns()
            answers = self._entry_point(data, context)
            if inspect.isawaitable(answers):
                answers = await answers
            return self._result(batch, answers, context, perf_counter_ns() - started)
        except Exception as error:  # the boundary to user code
            return self._failure(batch, stream, error)
        finally:
            stream.close()

    def _failure(self, batch: Predict, stream: ReplyStream, error: Exception) -> Failure:
        """Choose the answer to an exception. Its own text goes to the log, not to clients."""
        number = batch.batch_id
        if isinstance(error, ClientDisconnected) and stream.is_abandoned():
            return Failure(number, JobCancelled.code, "", 0)
        if isinstance(error, PredictionException):
            return Failure(number, PredictionError.code, _text(error.message), _status_of(error))
        ids = ", ".join(row.request_id for row in batch.rows)
        if isinstance(error, InvalidRequest):  # the client's mistake: one line is enough
            write_log(f"Request {ids}: {error}\n")
            return Failure(number, error.code, _text(error), 0)
        write_traceback(f"The handler failed on request {ids}:", error)
        if isinstance(error, TslError):
            return Failure(number, error.code, _text(error), error.wire_status)
        if isinstance(error, MemoryError) or "CUDA" in _text(error):
            return Failure(number, OutOfMemory.code, "", 0)
        return Failure(number, HandlerFailed.code, "", 0)


def _undecodable(rows: Sequence[Row]) -> dict[int, TslError]:
    """Why some rows of a batch cannot be decoded; the others are not to blame."""
    errors: dict[int, TslError] = {}
    for number, row in enumerate(rows):
        try:
            decode_row(row)
        except TslError as error:
            errors[number] = error
    return errors


def _split_kinds(rows: Sequence[Row]) -> None:
    """Keep predictions, explanations and descriptions apart; raises `Regroup` for that."""
    first = rows[0].properties
    if any(row.properties != first for row in rows):
        split_rows([_kind(row) for row in rows])


def _kind(row: Row) -> tuple[bool, bool]:
    properties = dict(zip(row.properties[::2], row.properties[1::2], strict=True))
    return properties.get("explain") == "True", properties.get("describe") == "True"


def read_model_yaml(model_dir: str, manifest: dict[str, Any] | None) -> Any:
    """Read the configuration file that a manifest names.

    Args:
        model_dir: folder with the unpacked archive.
        manifest: the archive's parsed manifest.

    Returns:
        What the file holds: {} when there is no such file, None when it is empty.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is not YAML.
    """
    name = ((manifest or {}).get("model") or {}).get("configFile")
    if not name:
        return {}
    with Path(model_dir, name).open("rb") as file:
        return load_plain(file)


def write_traceback(heading: str, error: BaseException) -> None:
    """Write a traceback to standard error in one piece.

    Not through `logging`: a handler may have configured that in a way that drops our records.

    Args:
        heading: line that says what failed.
        error: with its causes.
    """
    lines = traceback.format_exception(error)
    write_log(f"{heading}\n{''.join(lines)}")


def write_log(text: str) -> None:
    """Write to standard error; a handler may have closed it, and a log line must not cost us."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(_text(text))
        sys.stderr.flush()


def _text(value: object) -> str:
    """A handler's text, fit for a frame: halves of surrogate pairs are replaced."""
    try:
        text = str(value)
    except Exception:  # its ``__str__`` is user code too
        text = type(value).__name__
    return text.encode("utf-8", "replace").decode()


def _status_of(error: PredictionException) -> int:
    """The status that the handler chose; whether it is one is up to `PredictionError`."""
    try:
        return PredictionError("", int(error.error_code)).wire_status
    except (TypeError, ValueError, OverflowError):
        return PredictionError("").wire_status
