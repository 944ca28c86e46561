"""Metrics of the machine, measured at intervals (reference: metrics, section 6).

Either by psutil, or by a command of the operator (``system_metrics_cmd``), which prints lines in
the form that TorchServe's own script prints.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

import psutil

from .board import Board
from .gpus import GpuReader
from .server_stats import HOST_LEVEL

logger = logging.getLogger(__name__)

MEGABYTE: Final = 1024 * 1024
GIGABYTE: Final = 1024 * MEGABYTE
FIRST_S: Final = 1.0
"""After so long the first measurement is made: processor use needs a time span to look at."""
COMMAND_S: Final = 30.0
"""How long the operator's command may take."""
MAX_OUTPUT_BYTES: Final = 1024 * 1024
TORCHSERVE_COMMAND: Final = "ts/metrics/metric_collector.py"
"""TorchServe's default command; where it is configured, what is built in is meant."""

_LINE: Final = re.compile(
    r"(?P<name>[^.:|]+)\.(?P<unit>[^:|]*):(?P<value>[^|]+)\|#(?P<dimensions>[^|]*)"
    r"(?:\|#type:[^|]*)?\|#hostname:[^,]*,.*"
)
_MEMORY: Final = re.compile(r"\d+:\d+")


class Measurement(NamedTuple):
    """One value.

    Attributes:
        name: of the metric.
        value: in the metric's unit.
        dimensions: values in the definition's order, without the host's name.
    """

    name: str
    value: float
    dimensions: tuple[str, ...] = (HOST_LEVEL,)


Measure: TypeAlias = Callable[[], Awaitable[Iterable[Measurement]]]


class SystemMetrics:
    """Measures at intervals.

    Args:
        board: where the values go.
        interval_s: seconds from one measurement to the next.
        measure: does it.
    """

    def __init__(self, board: Board, interval_s: float, measure: Measure) -> None:
        self._board = board
        self._interval_s = interval_s
        self._measure = measure

    async def run(self) -> None:
        """Measure until cancelled; an error costs one measurement."""
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                for name, value, dimensions in await self._measure():
                    self._board.series(name, *dimensions).update(value)
            except Exception:  # whatever the system or a command does, the next turn comes
                logger.exception("The system's metrics cannot be measured")
            await asyncio.sleep(self._interval_s)


class BuiltIn:
    """Measures the machine by psutil, in a thread: a disk can make one wait.

    Args:
        gpus: reads accelerators.
    """

    def __init__(self, gpus: GpuReader) -> None:
        self._gpus = gpus
        self._last = _processor_time()

    async def __call__(self) -> list[Measurement]:
        """The values of this moment; processor time since the last one."""
        return await asyncio.to_thread(lambda: list(self._measure()))

    def _measure(self) -> Iterator[Measurement]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
        yield Measurement("CPUUtilization", self._processor_percent())
        yield Measurement("DiskAvailable", disk.free / GIGABYTE)
        yield Measurement("DiskUsage", disk.used / GIGABYTE)
        yield Measurement("DiskUtilization", disk.percent)
        yield Measurement("MemoryAvailable", memory.available / MEGABYTE)
        yield Measurement("MemoryUsed", memory.used / MEGABYTE)
        yield Measurement("MemoryUtilization", memory.percent)
        for gpu in self._gpus.read():
            dimensions = (HOST_LEVEL, str(gpu.number))
            yield Measurement("GPUMemoryUtilization", gpu.memory_percent, dimensions)
            yield Measurement("GPUMemoryUsed", gpu.memory_used_bytes / MEGABYTE, dimensions)
            if gpu.busy_percent is not None:
                yield Measurement("GPUUtilization", gpu.busy_percent, dimensions)

    def _processor_percent(self) -> float:
        """Share of the processors' time that was used since the last call.

        Not psutil's own: it remembers the last call by thread, and each of ours may be another.
        """
        last, self._last = self._last, _processor_time()
        total, idle = self._last[0] - last[0], self._last[1] - last[1]
        return round(100 * (1 - idle / total), 1) if total > 0 else 0.0


def _processor_time() -> tuple[float, float]:
    """Seconds since the machine started, of all processors: altogether, and idle ones."""
    times = psutil.cpu_times()
    counted = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return sum(getattr(times, name, 0.0) for name in counted), times.idle + times.iowait


class Command:
    """Runs the operator's command; it is given the workers' process ids.

    Args:
        words: the command behind the interpreter, split.
        folder: where it runs.
        list_pids: the workers' process ids.
    """

    def __init__(
        self, words: list[str], folder: str, list_pids: Callable[[], Iterable[int]]
    ) -> None:
        self._words = words
        self._folder = folder
        self._list_pids = list_pids

    async def __call__(self) -> list[Measurement]:
        """What it prints.

        Raises:
            OSError: it cannot be started.
            TimeoutError: it took too long, and was killed.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._words,
            cwd=self._folder or None,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_OUTPUT_BYTES,
        )
        pids = ",".join(map(str, self._list_pids()))
        try:
            async with asyncio.timeout(COMMAND_S):
                output, errors = await process.communicate(f"{pids}\n".encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if errors:
            logger.error("system_metrics_cmd: %s", errors.decode("utf-8", "replace").rstrip())
        return list(parse_lines(output.decode("utf-8", "replace")))


def parse_lines(text: str) -> Iterator[Measurement]:
    """Read ``{Name}.{Unit}:{value}|#{k}:{v},…|#hostname:{host},{seconds}`` lines.

    Lines ``pid:bytes`` are passed over: what workers use is measured when somebody asks.
    """
    for line in text.splitlines():
        if not line.strip() or _MEMORY.fullmatch(line.strip()):
            continue
        found = _LINE.fullmatch(line.strip())
        try:
            if found is None:
                raise ValueError
            value = float(found["value"])
        except ValueError:
            logger.error('Failed to parse metrics line: "%s".', line)  # noqa: TRY400
            continue
        pairs = [pair.partition(":") for pair in found["dimensions"].split(",") if pair]
        yield Measurement(found["name"].strip(), value, tuple(pair[2] for pair in pairs if pair[1]))
