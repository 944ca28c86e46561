"""The server: assemble the parts, start, wait, drain, stop.

`run` is what the command line calls. The order of a start: take the addresses (so that a taken
port is noticed first), register the models and start their workers, open the listeners, report.
The order of a stop: refuse new connections, answer what was accepted, stop the workers, remove
what was left on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

import uvloop

from tsl.model_store import ModelStore, Snapshot, SnapshotKind
from tsl.protocol.errors import ConfigError, TslError

from .assembly import Parts, assemble
from .busy_loop import BusyLoop, busy_poll_us
from .child_process import nursery_environ
from .config import ServerConfig
from .cpus import usable_cpus
from .early_nursery import has_models
from .file_limit import raise_file_limit
from .launcher import LocalLauncher
from .loop_turn import LoopTurn
from .nursery_process import NurseryProcess
from .registry import ServedModel
from .report import ModelReport, Reporter, StartReport
from .worker_command import output_marks
from .worker_listener import WorkerListener

if TYPE_CHECKING:
    from .grpc_api.listeners import GrpcApis

logger = logging.getLogger(__name__)

GC_THRESHOLD: Final = 20_000
SWEEP_S: Final = 1.0
LAST_WORDS_S: Final = 0.5
"""How long error answers may take to leave, once the drain's time is over."""
WORKER_STOP_S: Final = 10.0
"""How long workers may take to stop, once all requests have been answered."""


def run(config: ServerConfig, reporter: Reporter, nursery: NurseryProcess | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        config: the configuration; its model store exists.
        reporter: hears when the listeners are open, and when all models have settled.
        nursery: a fork server that has been started already; this call ends it.

    Returns:
        0 after a graceful stop.

    Raises:
        ConfigError: an address is taken, or another setting cannot be used here.
    """
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Server(config, reporter, nursery).serve())


class Server:
    """One run of the server.

    Args:
        config: the configuration.
        reporter: hears about the start.
        nursery: a fork server that has been started already.
    """

    def __init__(
        self, config: ServerConfig, reporter: Reporter, nursery: NurseryProcess | None = None
    ) -> None:
        self._config = config
        self._nursery = nursery
        self._reporter = reporter
        self._stopping = asyncio.Event()
        self._load_failures: dict[str, TslError] = {}
        self._grpc: GrpcApis | None = None

    async def serve(self) -> int:
        """Start, wait for a signal, stop.

        Raises:
            ConfigError: the server cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            on_hangup = self._on_signal if _has_terminal() else _on_hangup
            loop.add_signal_handler(signal.SIGHUP, on_hangup, signal.SIGHUP)
        turn = LoopTurn()
        awake_us = busy_poll_us(self._config.busy_poll_us, usable_cpus())
        worker_listener = WorkerListener(self._config.work_dir, turn, BusyLoop(awake_us / 1e6))
        environ = {**nursery_environ(os.environ), **output_marks(self._config)}
        launcher = LocalLauncher(environ, nursery=self._nursery)
        parts = assemble(self._config, launcher, worker_listener, turn)
        worker_stop_s = WORKER_STOP_S
        try:
            for listener in parts.listeners:
                listener.bind()
            _publish_keys(parts)
            if has_models(self._config):
                await launcher.prepare()
            await worker_listener.open()
            parts.planner.socket_path = worker_listener.path
            await self._until_stopped(self._load_models(parts))
            if not self._stopping.is_set():
                await self._serve(parts, turn)
                if not await self._drain(parts):
                    worker_stop_s = 1.0  # what they still work on has been given up
                if parts.recorder is not None:
                    await parts.recorder.record(SnapshotKind.SHUTDOWN)
        finally:
            for listener in parts.listeners:
                listener.close()
            await self._close_grpc(0)
            parts.key_file.remove()
            await parts.manager.close(worker_stop_s)
            await launcher.close()
            await worker_listener.close()
            parts.lines.close()
        logger.info("Server stopped")
        return 0

    async def _open_grpc(self, parts: Parts, turn: LoopTurn) -> None:
        """Open the gRPC listeners; the library is loaded here, while workers load their models."""
        if not self._config.enable_grpc:
            return
        module = await asyncio.to_thread(import_module, "tsl.frontend.grpc_api.listeners")
        apis: GrpcApis = module.GrpcApis(
            self._config,
            parts.registry,
            parts.calls,
            parts.stats,
            parts.authorizer,
            parts.access_log,
            parts.open_inference,
            parts.repository,
            turn,
        )
        self._grpc = apis
        await apis.open()

    async def _close_grpc(self, grace_s: float) -> None:
        grpc, self._grpc = self._grpc, None
        if grpc is not None:
            await grpc.close(grace_s)

    async def _until_stopped(self, work: Coroutine[None, None, None]) -> None:
        """Do some work, or leave it when the server is told to stop."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        for other in (task, stop):
            if not other.done():
                other.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await other
        if not task.cancelled():
            task.result()

    async def _load_models(self, parts: Parts) -> None:
        snapshot = self._config.model_snapshot
        if snapshot is None:
            locations = _start_locations(self._config, parts.store)
            self._load_failures = await parts.manager.load_at_start(locations)
            return
        _check_archives(self._config, snapshot, parts.store)
        failures = await parts.manager.restore(snapshot)
        self._load_failures = {entry.name: error for entry, error in failures}
        if parts.recorder is not None:
            parts.recorder.keep(entry for entry, _ in failures)

    async def _serve(self, parts: Parts, turn: LoopTurn) -> None:
        """Open the listeners, report, and serve until it is time to stop."""
        for listener in parts.listeners:
            await listener.open()
        await self._open_grpc(parts, turn)
        # What lives now lives as long as the server: later collections need not look at it.
        gc.collect()
        gc.freeze()
        # Requests leave no cycles behind: look for garbage rarely, not every few dozen of them.
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        logger.info("Serving %s", ", ".join(self._addresses(parts)))
        if parts.recorder is not None:
            await parts.recorder.record(SnapshotKind.STARTUP)
        self._reporter.listening(self._report(parts))
        tasks = [asyncio.create_task(self._report_settled(parts))]
        if parts.system_metrics is not None:
            tasks.append(asyncio.create_task(parts.system_metrics.run()))
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), SWEEP_S)
            _sweep(parts)
            if parts.certificate is not None:
                parts.certificate.refresh()
            if self._grpc is not None:
                self._grpc.refresh()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _addresses(self, parts: Parts) -> Iterator[str]:
        yield from (listener.address.url for listener in parts.listeners)
        if self._grpc is not None:
            yield from (f"grpc://{listener.address}" for listener in self._grpc.listeners)

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._stopping.is_set():
            logger.warning("%s again: the drain goes on; SIGKILL ends it", name)
            return
        logger.info("%s: no new connections, finishing what was accepted", name)
        self._stopping.set()

    async def _drain(self, parts: Parts) -> bool:
        """Answer what was accepted, within ``drain_timeout``.

        Returns:
            Whether everything was answered.
        """
        for listener in parts.listeners:
            listener.close()
            listener.context.is_draining = True
        for connection in list(parts.connections):
            connection.drain()
        limit_s = self._config.drain_timeout_s
        calls = asyncio.create_task(self._close_grpc(limit_s))
        await _all_closing(parts, limit_s)
        await calls
        left = sum(not connection.is_closing for connection in parts.connections)
        if left:
            logger.warning("%d connections were not done within drain_timeout", left)
            await parts.operations.close()
            await _all_closing(parts, LAST_WORDS_S)
        for connection in list(parts.connections):
            connection.abort()
        return not left

    async def _report_settled(self, parts: Parts) -> None:
        await asyncio.gather(*(served.pool.wait_settled() for served in list(parts.registry)))
        self._reporter.settled(self._report(parts))

    def _report(self, parts: Parts) -> StartReport:
        addresses = {name: listener.address.client_url for name, listener in parts.named.items()}
        models = [_model_report(served) for served in parts.registry]
        models += [
            ModelReport(name=name, version="", state="failed", reason=str(error))
            for name, error in self._load_failures.items()
        ]
        return StartReport(
            inference=addresses["inference"],
            management=addresses["management"],
            metrics=addresses.get("metrics", ""),
            grpc=tuple(listener.address for listener in self._grpc.listeners) if self._grpc else (),
            models=tuple(models),
        )


def _publish_keys(parts: Parts) -> None:
    """Leave the keys where clients on this machine find them, before the first one can connect."""
    path = parts.key_file.path
    try:
        if parts.authorizer is not None and parts.authorizer.publish():
            logger.info("Requests need a token: the keys are in %s", path)
    except OSError as error:
        raise ConfigError(
            f"The keys cannot be written to {path}: {error.strerror}.",
            "Start in a folder that can be written, choose keys of your own (docs/security.md), "
            "or start with --disable-token-auth.",
        ) from error


def _start_locations(config: ServerConfig, store: ModelStore) -> list[tuple[str | None, str]]:
    """What to load: pairs of a name, None for the archive's own, and a location."""
    if config.load_models.all_in_store:
        return list(store.list_start_models("all"))
    return [(name or None, location) for name, location in config.load_models.listed]


def _check_archives(config: ServerConfig, snapshot: Snapshot, store: ModelStore) -> None:
    """A snapshot is restored whole, or the start says what is missing.

    Raises:
        ConfigError: archives of the model store are gone.
    """
    gone = [one for one in snapshot.entries if one.url is None and not store.has(one.archive)]
    if not gone:
        return
    raise ConfigError(
        *(
            f"Model archive file {one.archive} for model {one.name}, version {one.version}, is "
            f"not in the model store {config.model_store}."
            for one in gone
        ),
        "The models to load come from model_snapshot in "
        f"{config.snapshot_file or config.file or 'the configuration'}. Put the archives back, or "
        "start with another --ts-config, or with --ncs, which does not look for snapshots.",
    )


def _model_report(served: ServedModel) -> ModelReport:
    version, pool = served.version, served.pool
    failed = [worker for worker in pool.workers if worker.has_failed_to_load]
    ready = pool.ready_count
    if not pool.workers:
        state = "no workers"
    elif ready:
        state = "ready"
    else:
        state = "failed" if failed else "loading"
    loaded = [worker.load_ms for worker in pool.workers if worker.is_serving]
    return ModelReport(
        name=version.name,
        version=version.version,
        state=state,  # type: ignore[arg-type]
        workers_ready=ready,
        workers_wanted=pool.min_workers,
        reason=failed[0].last_failure if failed and not ready else "",
        load_s=min(loaded, default=0.0) / 1000,
    )


async def _all_closing(parts: Parts, timeout_s: float) -> None:
    """Wait until every connection has had its last response, or the time is over."""
    deadline = time.monotonic() + timeout_s
    while any(not c.is_closing for c in parts.connections) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        _sweep(parts)


def _sweep(parts: Parts) -> None:
    parts.clock.tick()
    now = parts.clock.now
    for connection in [c for c in parts.connections if c.deadline <= now]:
        connection.sweep(now)


def _has_terminal() -> bool:
    """Whether somebody can hang up on us."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _on_hangup(number: int) -> None:
    """What logrotate sends; log files that were moved are noticed without it."""
    logger.info("%s: moved log files are left at their next line", signal.Signals(number).name)
