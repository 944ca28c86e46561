"""Run the steps of a handler as a pipeline over slices of the batch.

While one slice is in the model, the next one can be preprocessed. Each step has its own threads
and a queue before them; a slice that fails ends its call with that exception.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from itertools import chain
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, NoReturn

from tsl.protocol.errors import InvalidRequest, TslError

from .handlers.image_rows import has_several
from .regroup import Regroup, refuse_rows

HANDLER_METHODS: Final = ["preprocess", "inference", "postprocess"]
"""The steps, in order."""


class _Done(NamedTuple):
    """A slice that has left the pipeline."""

    number: int
    result: Any
    error: BaseException | None


class _Slice(NamedTuple):
    """A part of a batch on its way through the pipeline."""

    number: int
    value: Any
    done: SimpleQueue[_Done]


_Queue = SimpleQueue[_Slice | None]
_current = threading.local()


class WorkerThread(threading.Thread):
    """Runs one step on slices until it receives None.

    Args:
        handler: object with the step as a method.
        method: name of the step.
        source: slices to work on.
        target: where results go; None after the last step.
    """

    def __init__(self, handler: Any, method: str, source: _Queue, target: _Queue | None) -> None:
        # A daemon: a thread that waits for work must not keep the worker from exiting.
        super().__init__(name=f"micro-batching-{method}", daemon=True)
        self._handler = handler
        self._method = method
        self._source = source
        self._target = target

    def run(self) -> None:
        """Work until told to stop."""
        execute_call(
            self._source, self._target, lambda rows: getattr(self._handler, self._method)(rows)
        )


def execute_call(in_queue: _Queue, out_queue: _Queue | None, handle: Callable[[Any], Any]) -> None:
    """Run one step on slices until there is None in place of one.

    Args:
        in_queue: slices to work on.
        out_queue: where results go; None after the last step.
        handle: the step.
    """
    while (item := in_queue.get()) is not None:
        _current.number = item.number
        try:
            result = handle(item.value)
        except BaseException as error:  # handed to the thread that waits for the call
            item.done.put(_Done(item.number, None, error))
        else:
            if out_queue is None:
                item.done.put(_Done(item.number, result, None))
            else:
                out_queue.put(item._replace(value=result))


class MicroBatching:
    """Takes the place of a handler's ``handle``: ``self.handle = MicroBatching(self)``.

    Args:
        parent_handler: handler with the methods of `HANDLER_METHODS`.
        micro_batch_size: rows per slice.
        parallelism: threads for each step, 1 by default.
    """

    def __init__(
        self,
        parent_handler: Any,
        micro_batch_size: int = 1,
        parallelism: Mapping[str, int] | None = None,
    ) -> None:
        self.handler = parent_handler
        self.micro_batch_size = micro_batch_size
        self._queues: list[_Queue] = [SimpleQueue() for _ in HANDLER_METHODS]
        self._running = [0] * len(HANDLER_METHODS)
        self._parallelism: dict[str, int] = {}
        self._lock = threading.Lock()
        self._is_started = False
        self.parallelism = dict(parallelism or {})

    @property
    def parallelism(self) -> dict[str, int]:
        """Threads for each step; assign a mapping to change them."""
        return dict(self._parallelism)

    @parallelism.setter
    def parallelism(self, parallelism: Mapping[str, int]) -> None:
        unknown = set(parallelism) - set(HANDLER_METHODS)
        if unknown:
            msg = f"unknown steps {sorted(unknown)}; known are {HANDLER_METHODS}"
            raise ValueError(msg)
        if any(count < 1 for count in parallelism.values()):
            msg = f"each step needs at least one thread, not {dict(parallelism)}"
            raise ValueError(msg)
        self._parallelism = {name: parallelism.get(name, 1) for name in HANDLER_METHODS}
        if self._is_started:
            self._resize(list(self._parallelism.values()))

    def _start(self) -> None:
        # Not in the constructor: a process may be forked between loading and serving.
        self._is_started = True
        self._resize(list(self._parallelism.values()))

    def _resize(self, wanted: list[int]) -> None:
        with self._lock:
            for step, count in enumerate(wanted):
                for _ in range(self._running[step], count):
                    target = self._queues[step + 1] if step + 1 < len(self._queues) else None
                    name, source = HANDLER_METHODS[step], self._queues[step]
                    WorkerThread(self.handler, name, source, target).start()
                for _ in range(count, self._running[step]):
                    self._queues[step].put(None)
                self._running[step] = count

    def shutdown(self) -> None:
        """End all threads after the work they have; the next call starts new ones."""
        self._is_started = False
        self._resize([0] * len(HANDLER_METHODS))

    def get_micro_batch_idx(self) -> int:
        """Number of the slice that the calling step works on."""
        number: int = _current.number
        return number

    def handle(self, data: list[Any]) -> list[Any]:
        """Send a batch through the pipeline.

        Args:
            data: the rows.

        Returns:
            The results of all slices in order.

        Raises:
            Regroup: some rows are refused, or do not fit together.
            Exception: whatever else a step raised for the first slice that failed.
        """
        if not self._is_started:
            self._start()
        done: SimpleQueue[_Done] = SimpleQueue()
        size = self.micro_batch_size
        starts = range(0, len(data), size)
        for number, start in enumerate(starts):
            self._queues[0].put(_Slice(number, data[start : start + size], done))
        finished = sorted((done.get() for _ in starts), key=lambda each: each.number)
        if any(each.error is not None for each in finished):
            _raise(finished, size, len(data))
        return list(chain.from_iterable(each.result for each in finished))

    def __call__(self, data: list[Any], context: Any) -> Any:
        """Answer a batch; descriptions, explanations and profiles take the handler's own way."""
        started = time.perf_counter()
        handler = self.handler
        handler.context = context
        is_profiled = os.environ.get("ENABLE_TORCH_PROFILER")
        # Requests with several images are longer than their rows, so slices would not fit.
        is_long = hasattr(handler, "max_images") and has_several(data)
        if is_profiled or is_long or handler._is_describe() or handler._is_explain():  # noqa: SLF001
            return type(handler).handle(handler, data, context)
        output = self.handle(data)
        elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
        if context.metrics is not None:
            context.metrics.add_time("HandlerTime", elapsed_ms, None, "ms")
        return output


def _raise(finished: list[_Done], size: int, count: int) -> NoReturn:
    """Raise what slices raised, with the numbers that rows have in the whole batch."""
    refused: dict[int, TslError] = {}
    groups: list[list[int]] = []
    for number, _, error in finished:
        start = number * size
        is_row = min(size, count - start) == 1
        if isinstance(error, InvalidRequest) and is_row:
            refused[start] = error
        elif isinstance(error, Regroup):
            refused.update((start + row, each) for row, each in error.refused.items())
            groups += [[start + row for row in group] for group in error.groups]
        elif error is not None:
            raise error
    refuse_rows(refused, count)
    served = {row for group in groups for row in group}
    raise Regroup([*groups, [row for row in range(count) if row not in served]])
