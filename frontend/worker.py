"""One worker's life: process, connection, load, service, death, restart.

A `Worker` stays the same over restarts; each start gives it a fresh process with a fresh id and
token. It owns the order of events that `worker_state` allows, and knows when its process is
really gone: only when the exit was reported *and* its socket was read to the end, so that an
answer written a moment before death still counts. What it does not know are queues and batches:
those are the business of its `WorkerOwner`, the pool.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Final, Protocol

from tsl.protocol.errors import (
    LoadFailed,
    ProtocolError,
    ResponseTimeout,
    TslError,
    WorkerDied,
    WorkerKilled,
)
from tsl.protocol.frames import Hello, Load, MetricRecord

from .group_plan import GroupPlan
from .launcher import LaunchError, ProcessLauncher
from .restart import RestartPolicy
from .worker_channel import Batch, WorkerChannel
from .worker_listener import WorkerListener, new_token
from .worker_process import SIGKILL_CODE, Process, WorkerSpec, exit_cause
from .worker_state import WorkerEvent, WorkerState, next_state

logger = logging.getLogger(__name__)

END_GRACE_S: Final = 2.0
"""How long a worker that should end may take before it is killed."""
READ_GRACE_S: Final = 0.5
"""How long the last words of a dead worker may take from its socket."""

_start_numbers = count(1)


class WorkerOwner(Protocol):
    """What a worker tells its pool.

    Attributes:
        has_steps: jobs may need several batches, so that a worker which is told to stop is not
            done when what is in flight is answered; see `continue_batch`.
    """

    has_steps: bool

    def worker_ready(self, worker: Worker) -> None:
        """It serves; batches may be sent."""

    def worker_free(self, worker: Worker, batch: Batch, service_us: int | None) -> None:
        """It answered a batch; ``service_us`` is None for a batch that failed as a whole."""

    def continue_batch(self, worker: Worker, batch: Batch) -> bool:
        """It has been told to stop, and answered a batch; whether it got more for the same jobs."""

    def worker_changed(self, worker: Worker) -> None:
        """It cannot take batches any more, though it is not quite gone."""

    def worker_lost(self, worker: Worker, channel: WorkerChannel | None, cause: TslError) -> None:
        """Its process is gone; ``channel`` still holds what was in flight."""

    def worker_ended(self, worker: Worker) -> None:
        """It is stopped or abandoned: it will not come back by itself."""

    def worker_metrics(self, worker: Worker, records: list[MetricRecord]) -> None:
        """Its handler recorded metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What is the same for all starts of a worker.

    Attributes:
        number: the id that describe shows (TorchServe: a port number).
        label: name in logs, ``W-<number>-<model>_<version>``.
        load: what it is told to load.
        max_reply_bytes: limit for the bodies of one frame from it.
        startup_timeout_s: from process start to loaded.
        retry_window_s: ``maxRetryTimeoutInSec``.
        spec: makes the launch order for a fresh worker id and token.
        group: the processes it is made of; None for one.
    """

    number: int
    label: str
    load: Load
    max_reply_bytes: int
    startup_timeout_s: float
    retry_window_s: float
    spec: Callable[[str, str], WorkerSpec]
    group: GroupPlan | None = None


class Worker:
    """A worker of one model version.

    Args:
        plan: what to start.
        launcher: how to start it.
        listener: where it connects to.
        owner: whom to tell.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        launcher: ProcessLauncher,
        listener: WorkerListener,
        owner: WorkerOwner,
    ) -> None:
        self.plan = plan
        self.worker_id = ""
        self.token = ""
        self.state = WorkerState.STOPPED
        self.channel: WorkerChannel | None = None
        self.process: Process | None = None
        self.started_at: datetime | None = None
        self.last_failure = ""
        self.load_failure: TslError | None = None
        self.load_ms = 0.0
        self.restarts = 0
        self._launcher = launcher
        self._listener = listener
        self._owner = owner
        self._policy = RestartPolicy(plan.retry_window_s)
        self._timer: asyncio.TimerHandle | None = None
        self._launch: asyncio.Task[None] | None = None
        self._verdict: TslError | None = None
        self._greeted_pid = -1
        self._reason = ""  # why this life ends, where the exit code would not tell
        self._gone = asyncio.Event()
        self._gone.set()

    def __repr__(self) -> str:
        return f"<Worker {self.plan.label} {self.state.name}>"

    # Questions...

    @property
    def pid(self) -> int:
        """Process id, -1 while there is none."""
        if self.process is None:  # it may have greeted before the launcher is done
            return self._greeted_pid if self.channel is not None else -1
        return self.process.pid if self.process.returncode is None else -1

    @property
    def pids(self) -> list[int]:
        """Ids of all its processes."""
        return [self.pid] if self.pid >= 0 else []

    @property
    def is_serving(self) -> bool:
        """Whether it is loaded and connected."""
        return self.state is WorkerState.SERVING and self.pid >= 0

    @property
    def is_healthy(self) -> bool:
        """TorchServe's rule for ``/ping``: serving, starting, or within its retry window."""
        return self.state not in (WorkerState.ABANDONED, WorkerState.STOPPED)

    @property
    def has_failed_to_load(self) -> bool:
        """Whether its latest start ended without a loaded handler."""
        return self.load_failure is not None

    @property
    def verdict(self) -> TslError:
        """What to answer to the jobs of a worker that was timed out."""
        return self._verdict or WorkerDied()

    # ...commands...

    def start(self) -> None:
        """Begin a life; the outcome comes through the owner."""
        self.state = WorkerState.STARTING
        self.worker_id = f"{self.plan.label}#{next(_start_numbers)}"
        self.token = new_token()
        self.started_at = datetime.now(UTC)
        self._verdict = None
        self._reason = ""
        self._gone.clear()
        self._listener.expect(self)
        self._arm(self.plan.startup_timeout_s, self._startup_timed_out)
        self._launch = asyncio.get_running_loop().create_task(self._start_process())

    def stop(self, reason: str) -> None:
        """Let it finish what is in flight, then end it."""
        if self.state in (WorkerState.STOPPING, WorkerState.STOPPED):
            return
        was = self.state
        self._step(WorkerEvent.STOP)
        self._disarm()
        if was in (WorkerState.WAITING, WorkerState.ABANDONED):
            self._owner.worker_ended(self)
            return
        channel, process = self.channel, self.process
        if channel is not None and process is not None and process.returncode is not None:
            self._arm(READ_GRACE_S, channel.abort)  # only the rest of its socket is missing
        elif was is WorkerState.SERVING and channel is not None:
            if self._owner.has_steps and channel.in_flight and channel.is_serving:
                return  # `on_free` will say when its jobs have all had their last step
            self._dismiss(channel, reason)
            if channel.is_lost or not channel.in_flight:
                self._arm(END_GRACE_S, self.kill)
        elif process is not None:  # it is loading, and would not hear us
            process.kill()

    def _dismiss(self, channel: WorkerChannel, reason: str) -> None:
        """Tell it that nothing more will come."""
        channel.shutdown(reason)

    def kill(self) -> None:
        """End the process now; jobs in flight are reported with it."""
        if self.process is not None:
            self.process.kill()
            if self.process.returncode is not None and self.channel is not None:
                self.channel.abort()
        elif self._launch is not None and not self._launch.done():
            self._launch.cancel()  # the launcher hangs: whatever it starts later finds no welcome
            if self.channel is not None:
                self.channel.disown()
            self._finish_life()

    def time_out(self) -> None:
        """The handler did not answer in time: ask for its stack traces, then kill it."""
        self.abort("no answer within responseTimeout")

    def abort(self, reason: str) -> None:
        """It hangs: ask for its stack traces, then kill it."""
        ids, requests = _requests_of(self.channel)
        logger.error(
            "%s: %s%s; its stack goes to the model log",
            *(self.plan.label, reason, requests),
            extra={"request_id": ids},
        )
        self._verdict = ResponseTimeout()
        self.last_failure = self._reason = reason
        if self.channel is not None:
            self.channel.shutdown(reason)
        if self.process is not None:
            self.process.abort()
            self._arm(END_GRACE_S, self.kill)

    async def wait_gone(self) -> None:
        """Return when there is no process any more."""
        await self._gone.wait()

    # ...and what happens to it.

    async def _start_process(self) -> None:
        try:
            self.process = await self._spawn()
        except Exception as error:
            # The boundary of the launch, which runs as a task of its own: whatever went wrong
            # has to end this life, or the worker would stay in STARTING for ever.
            if not isinstance(error, (LaunchError, OSError)):
                logger.exception("%s: an error that is a bug of tsl", self.plan.label)
            self.last_failure = self._reason = f"the process cannot be started: {error}"
            self.load_failure = LoadFailed()
            self._finish_life()
            return
        if self.state is WorkerState.STOPPING:  # told so before there was anything to stop
            self.process.kill()

    async def _spawn(self) -> Process:
        """Start what this worker is made of.

        Raises:
            LaunchError: it could not be started.
        """
        spec = self.plan.spec(self.worker_id, self.token)
        return await self._launcher.launch(spec, self._on_exit)

    def on_greeted(self, channel: WorkerChannel, hello: Hello) -> tuple[Load, int]:
        """The process connected."""
        self.channel = channel
        self._greeted_pid = hello.pid
        if self.state is WorkerState.STARTING:
            self._step(WorkerEvent.GREETED)
        return self.plan.load, self.plan.max_reply_bytes

    def on_loaded(self, load_ms: float) -> None:
        """The handler is ready."""
        if self.state is not WorkerState.LOADING:  # told to stop meanwhile
            return
        self._step(WorkerEvent.LOADED)
        self._disarm()
        self._policy.loaded(time.monotonic())
        self.load_failure = None
        self.load_ms = load_ms
        logger.info("%s is ready (pid %d, loaded in %.0f ms)", self.plan.label, self.pid, load_ms)
        self._owner.worker_ready(self)

    def on_load_failed(self, code: str, reason: str) -> None:
        """The handler cannot be loaded; the process ends by itself."""
        self.load_failure = TslError.from_wire(code, "")
        self.last_failure = self._reason = reason
        logger.error("%s cannot load its handler: %s", self.plan.label, reason)
        self._arm(END_GRACE_S, self.kill)

    def on_free(self, batch: Batch, service_us: int | None) -> None:
        """A batch was answered."""
        if self.state is WorkerState.STOPPING:
            channel = self.channel
            if self._owner.has_steps and self._owner.continue_batch(self, batch):
                return
            if channel is not None and not channel.in_flight:
                self._dismiss(channel, "all its jobs are answered")
                self._arm(END_GRACE_S, self.kill)
            return
        self._owner.worker_free(self, batch, service_us)

    def on_done(self, batch_id: int) -> None:
        """Only ranks that do not answer may say this.

        Raises:
            ProtocolError: always.
        """
        msg = f"batch {batch_id} is done without an answer"
        raise ProtocolError(msg)

    def on_metrics(self, records: list[MetricRecord]) -> None:
        """The handler recorded metrics."""
        self._owner.worker_metrics(self, records)

    def on_channel_lost(self) -> None:
        """The socket was read to its end."""
        if self.process is not None and self.process.returncode is not None:
            self._finish_life()
            return
        self._owner.worker_changed(self)
        if self.process is not None:  # it closed its socket, or we dropped it: it must not linger
            self._arm(END_GRACE_S, self.kill)
        # else: it connected before the launcher had its pid; the report of its exit will follow

    def _on_exit(self, returncode: int) -> None:
        self.last_failure = self._reason or self._exit_cause(returncode)
        if self.channel is None or self.channel.is_lost:
            self._finish_life()
        else:
            # The rest of the socket is still to be read; `on_channel_lost` follows, unless a
            # child of the worker has inherited the socket and keeps it open.
            self.channel.retire()
            self._owner.worker_changed(self)
            self._arm(READ_GRACE_S, self.channel.abort)

    def _exit_cause(self, returncode: int) -> str:
        return exit_cause(returncode)

    def _finish_life(self) -> None:
        """There is no process any more, and nothing left to read."""
        if self._gone.is_set():
            return
        self._disarm()
        self._listener.forget(self)
        channel, self.channel = self.channel, None
        process, self.process = self.process, None
        was, stopping = self.state, self.state is WorkerState.STOPPING
        self._step(WorkerEvent.GONE)
        self._gone.set()
        cause = self._verdict or _cause(process, self.last_failure)
        if was in (WorkerState.STARTING, WorkerState.LOADING) and not self._reason:
            self.load_failure = LoadFailed()  # it stays until a start succeeds: somebody may wait
        self._log_end(process, channel, stopping=stopping)
        self._owner.worker_lost(self, channel, cause)
        if stopping:
            self._owner.worker_ended(self)
        elif self.state is WorkerState.WAITING:  # and not stopped by what the owner just did
            self._plan_restart()

    def _plan_restart(self) -> None:
        delay = self._policy.died(time.monotonic())
        if delay is None:
            self._step(WorkerEvent.GIVE_UP)
            logger.error(
                "%s is abandoned: it did not come back within maxRetryTimeoutInSec (%g s)",
                self.plan.label,
                self.plan.retry_window_s,
            )
            self._owner.worker_ended(self)
            return
        self.restarts += 1
        logger.warning("Retry worker: %s in %g seconds", self.plan.label, delay)
        self._arm(delay, self._restart)

    def _restart(self) -> None:
        self._step(WorkerEvent.RETRY)
        self.start()

    def _startup_timed_out(self) -> None:
        self.load_failure = LoadFailed()
        limit_s = self.plan.startup_timeout_s
        self.last_failure = self._reason = f"not loaded within startupTimeout ({limit_s:g} s)"
        logger.error("%s %s", self.plan.label, self.last_failure)
        if self.process is not None:
            self.process.abort()
            self._arm(END_GRACE_S, self.kill)
        else:
            self.kill()

    def _log_end(
        self, process: Process | None, channel: WorkerChannel | None, *, stopping: bool
    ) -> None:
        if stopping:
            logger.info("%s stopped", self.plan.label)
            return
        last = process.tail[-1] if process is not None and process.tail else ""
        ids, requests = _requests_of(channel)
        logger.error(
            "Worker disconnected: %s (%s)%s%s",
            *(self.plan.label, self.last_failure, requests),
            f"; last line of its stderr: {last}" if last else "",
            extra={"request_id": ids},
        )

    def _step(self, event: WorkerEvent) -> None:
        self.state = next_state(self.state, event)

    def _arm(self, delay_s: float, action: Callable[[], None]) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _requests_of(channel: WorkerChannel | None) -> tuple[str, str]:
    """The ids of the requests that a worker is working on, and the words for them."""
    ids = "" if channel is None else channel.working_on()
    return ids, f", while working on request {ids}" if ids else ""


def _cause(process: Process | None, failure: str) -> TslError:
    """What to answer to the jobs that were with a dead worker."""
    if process is not None and process.returncode == SIGKILL_CODE:
        return WorkerKilled(hint=f"({failure})")
    return WorkerDied(hint=f"({failure})" if failure else "")
