"""What all request envelopes share: unwrap the rows, call the handler, wrap its results.

An envelope stands between the service and the handler. A row that contradicts the envelope's
protocol fails alone: `refuse` remembers the error, the handler sees the other rows, and the
error takes the row's place in the results. A batch with nothing but bad rows raises.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tsl.protocol.errors import InvalidInput, InvalidOutput, TslError

from ..regroup import Regroup, refuse_rows

if TYPE_CHECKING:
    from ..context import Context

Rows: TypeAlias = list[dict[str, Any]]
EntryPoint: TypeAlias = Callable[..., Any]


class BaseEnvelope:
    """Hands everything on as it is; subclasses override `parse_input` and `format_output`.

    Attributes:
        context: the context of the running call.

    Args:
        handle_fn: the handler's entry point, ``(data, context) -> results``; a coroutine
            function makes `handle` return an awaitable.
    """

    context: Context

    def __init__(self, handle_fn: EntryPoint) -> None:
        self._target_fn = handle_fn
        self._is_async = inspect.iscoroutinefunction(handle_fn)
        self._refused: dict[int, TslError] = {}
        self._row_count = 0

    def handle(self, data: Rows, context: Context) -> Any:
        """Run the handler on what the rows contain.

        Args:
            data: one dict for each request.
            context: the context of the batch.

        Returns:
            One answer for each row, an `InvalidInput` in the place of a bad one; or what the
            handler returned, if that was empty. For an asynchronous handler an awaitable of it.

        Raises:
            InvalidInput: no row fits the protocol of the envelope.
            InvalidOutput: the handler's results cannot be told apart by request.
            Regroup: some of the requests cannot be served together with the others.
        """
        # Calls of an asynchronous handler overlap: each gets its own state.
        call = copy.copy(self) if self._is_async else self
        return call._handle(data, context)  # noqa: SLF001

    def _handle(self, data: Rows, context: Context) -> Any:
        self.context = context
        self._refused = {}
        self._row_count = len(data)
        if not data:
            return self._target_fn(data, context)
        unwrapped = self.parse_input(data)
        if len(self._refused) == len(data):
            raise self._refused[0]
        try:
            results = self._target_fn(unwrapped, context)
        except Regroup as plan:
            self._regroup(plan)
        return self._finish_later(results) if inspect.isawaitable(results) else self._wrap(results)

    def _regroup(self, plan: Regroup) -> NoReturn:
        """Say by requests what the handler has said by its own rows.

        Raises:
            Regroup: the bad requests, and the others.
            InvalidInput: there is one request only, and it cannot be served.
        """
        accepted = [row for row in range(self._row_count) if row not in self._refused]
        owners = [
            row for row, size in zip(accepted, self._sizes(), strict=True) for _ in range(size)
        ]
        refused: dict[int, TslError] = {}
        for number, error in plan.refused.items():
            refused.setdefault(owners[number], error)
        if refused:
            refuse_rows({**self._refused, **refused}, self._row_count)
        if len(accepted) == 1:
            msg = "The instances of one request must fit into one call: equal shapes, for example."
            raise InvalidInput(msg)
        raise Regroup([[row] for row in accepted], self._refused)

    def _sizes(self) -> list[int]:
        """How many rows the handler got for each request that was not refused."""
        return [1] * (self._row_count - len(self._refused))

    async def _finish_later(self, results: Awaitable[Any]) -> Any:
        return self._wrap(await results)

    def _wrap(self, results: Any) -> Any:
        if _is_empty(results):
            return results
        answers = self.format_output(results)
        if self._refused:
            remaining = iter(answers)
            return [self._refused.get(row) or next(remaining) for row in range(self._row_count)]
        return answers

    def parse_input(self, data: Rows) -> Any:
        """What the handler gets instead of the rows."""
        return data

    def format_output(self, data: Any) -> Any:
        """What is answered instead of the handler's results: one item for each good row."""
        return data

    def refuse(self, row: int, error: TslError) -> None:
        """Answer this row of the batch with an error."""
        self._refused[row] = error


def _is_empty(results: Any) -> bool:
    """``not results``, but for arrays, which do not answer that question."""
    if results is None:
        return True
    return isinstance(results, list | tuple | dict | str | bytes) and not results


def row_value(row: dict[str, Any]) -> Any:
    """The request's value: the field ``data`` or, if that is missing or empty, ``body``."""
    return row.get("data") or row.get("body")


def parse_document(value: Any, parse: Callable[[Any], Any] = json.loads) -> dict[str, Any]:
    """The JSON object of a request, decoded if it still is bytes or text.

    Args:
        value: the object, or its text.
        parse: reads JSON text.

    Raises:
        InvalidInput: it is no JSON object.
    """
    if isinstance(value, bytes | bytearray | memoryview | str):
        try:
            value = parse(bytes(value) if isinstance(value, memoryview) else value)
        except (ValueError, RecursionError) as error:
            msg = f"The request body is not valid JSON: {error}"
            raise InvalidInput(msg) from error
    if not isinstance(value, dict):
        msg = "The request body must be a JSON object."
        raise InvalidInput(msg, hint="Send it with Content-Type: application/json.")
    return value


def list_member(document: dict[str, Any], name: str) -> list[Any]:
    """A member of the request's document that must be a list.

    Raises:
        InvalidInput: it is missing or something else.
    """
    if name not in document:
        msg = f"The request body has no member {name!r}."
        raise InvalidInput(msg)
    value = document[name]
    if not isinstance(value, list):
        msg = f"The member {name!r} of the request body must be a list."
        raise InvalidInput(msg)
    return value


def split_results(results: Any, lengths: Sequence[int]) -> list[list[Any]]:
    """Give each request its share of a batch's results.

    Args:
        results: as many items as all requests together had.
        lengths: how many items each request had.

    Raises:
        InvalidOutput: the handler returned another number of items.
    """
    items = list(results.tolist() if hasattr(results, "tolist") else results)
    if len(items) != sum(lengths):
        msg = f"The handler returned {len(items)} results for {sum(lengths)} inputs."
        raise InvalidOutput(msg, hint="Return one result for each input.")
    shares, start = [], 0
    for length in lengths:
        shares.append(items[start : start + length])
        start += length
    return shares
