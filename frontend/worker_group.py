"""A worker that is made of several processes: the ranks of a parallel model.

Towards the pool it is one `Worker`: one batch at a time, one answer, one life. Rank 0 is the
worker's own process and channel. The others (`Follower`) connect in the same way, are told to
load the same model, and get a copy of every batch; they run it and say `Done`. So that all ranks
see the same batches in the same order, the next one is sent only when all have finished the one
before, and nothing is cancelled half-way.

The ranks live and die together: the end of one ends all, and the worker is started again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import Buffer, Frame, Hello, Load, MetricRecord, Predict

from .group_plan import GroupPlan, ReservedPort
from .launcher import ProcessLauncher
from .worker import END_GRACE_S, Worker, WorkerOwner, WorkerPlan
from .worker_channel import Batch, WorkerChannel
from .worker_listener import WorkerListener, new_token
from .worker_process import Process, WorkerSpec, exit_cause
from .worker_state import WorkerEvent, WorkerState

logger = logging.getLogger(__name__)

LEFT_BEHIND_S: Final = 10.0
"""How long the other ranks may take to finish a batch that has failed in the first one. One that
waits for a message of the first rank would wait for ever, and keep the worker from the next."""


def make_worker(
    plan: WorkerPlan, launcher: ProcessLauncher, listener: WorkerListener, owner: WorkerOwner
) -> Worker:
    """A worker of one process, or of several if its plan says so."""
    if plan.group is None:
        return Worker(plan, launcher, listener, owner)
    return GroupWorker(plan, plan.group, launcher, listener, owner)


class GroupWorker(Worker):
    """A worker of several ranks.

    Args:
        plan: what to start.
        group: how many, and with what.
        launcher: how to start a process.
        listener: where the processes connect to.
        owner: whom to tell.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        group: GroupPlan,
        launcher: ProcessLauncher,
        listener: WorkerListener,
        owner: WorkerOwner,
    ) -> None:
        super().__init__(plan, launcher, listener, owner)
        self._group = group
        self._followers: list[Follower] = []
        self._processes: ProcessGroup | None = None
        self._port: ReservedPort | None = None
        self._loaded_ms: float | None = None
        self._answered: tuple[Batch, int | None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    @property
    def pids(self) -> list[int]:
        """Process ids of the ranks that run."""
        return [] if self._processes is None else self._processes.pids

    # The way up.

    async def _spawn(self) -> Process:
        """Start all ranks at once.

        Raises:
            LaunchError: one of them could not be started; then none is left.
        """
        self._port = ReservedPort()
        self._loaded_ms = None
        first = self.plan.spec(self.worker_id, self.token)
        specs = [self._spec_of(rank, first) for rank in range(self._group.size)]
        self._followers = [
            Follower(self, rank, spec.worker_id, spec.token)
            for rank, spec in enumerate(specs)
            if rank
        ]
        for follower in self._followers:
            self._listener.expect(follower)
        self._processes = processes = ProcessGroup(self._on_exit, self._on_first_exit)
        starts = [self._start_rank(processes, rank, spec) for rank, spec in enumerate(specs)]
        try:
            outcomes = await asyncio.gather(*starts, return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
        except BaseException:
            processes.abandon()
            raise
        processes.complete()
        return processes

    async def _start_rank(self, processes: ProcessGroup, rank: int, spec: WorkerSpec) -> None:
        processes.add(rank, await self._launcher.launch(spec, partial(processes.ended, rank)))

    def _spec_of(self, rank: int, first: WorkerSpec) -> WorkerSpec:
        assert self._port is not None
        added = self._group.environ(rank, self._port.number, first.environ)
        spec = replace(first, environ={**first.environ, **added})
        if rank == 0:
            return spec
        return replace(
            spec,
            worker_id=f"{first.worker_id}.{rank}",
            label=f"{first.label}-rank{rank}",
            token=new_token(),
        )

    def load_of(self, follower: Follower) -> tuple[Load, int]:
        """What a rank is told when it connects."""
        load = self.plan.load
        gpu_id = follower.rank if load.gpu_id >= 0 else load.gpu_id
        return load._replace(gpu_id=gpu_id, answers=False), self.plan.max_reply_bytes

    def on_loaded(self, load_ms: float) -> None:
        """Rank 0 is ready."""
        self._loaded_ms = load_ms
        self.on_rank_loaded(load_ms)

    def on_rank_loaded(self, load_ms: float) -> None:
        """Some rank is ready; the worker is when all are."""
        if self._loaded_ms is None or not all(each.is_loaded for each in self._followers):
            return
        if self.channel is not None and self._group.copies_batches:
            self.channel.companions = tuple(self._followers)
        super().on_loaded(max(load_ms, self._loaded_ms))

    # Batches.

    def on_free(self, batch: Batch, service_us: int | None) -> None:
        """Rank 0 answered; the worker is free when the others have finished, too."""
        if not any(each.pending for each in self._followers):
            super().on_free(batch, service_us)
            return
        self._answered = (batch, service_us)
        limit_s = self._group.answer_timeout_s
        if service_us is None:
            limit_s = min(limit_s, LEFT_BEHIND_S)
        self._patience = asyncio.get_running_loop().call_later(limit_s, self._give_up_waiting)

    def on_rank_done(self) -> None:
        """Another rank has finished a batch."""
        if self._answered is None or any(each.pending for each in self._followers):
            return
        self._stop_waiting()
        answered, self._answered = self._answered, None
        super().on_free(*answered)

    def _give_up_waiting(self) -> None:
        behind = [str(each.rank) for each in self._followers if each.pending]
        self.abort(f"rank {', '.join(behind)} did not finish a batch that rank 0 had answered")
        self._owner.worker_changed(self)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    # The way down.

    def stop(self, reason: str) -> None:
        """Let it finish what is in flight, then end all ranks."""
        super().stop(reason)
        if self.state is WorkerState.STOPPING and not (self.channel and self.channel.is_serving):
            for follower in self._followers:
                follower.shutdown(reason)

    def _dismiss(self, channel: WorkerChannel, reason: str) -> None:
        super()._dismiss(channel, reason)
        for follower in self._followers:
            follower.shutdown(reason)

    def _on_first_exit(self, rank: int) -> None:
        """One rank has ended, so the others will: send nothing more."""
        del rank
        if self.channel is not None:
            self.channel.retire()
            self._owner.worker_changed(self)

    def on_rank_lost(self, follower: Follower) -> None:
        """The socket of a rank was read to its end; its exit follows, or is made to."""
        if self.state in (WorkerState.STOPPING, WorkerState.STOPPED) or self.process is None:
            return
        self._on_first_exit(follower.rank)
        self._arm(END_GRACE_S, partial(self._end_silent, follower.rank))

    def _end_silent(self, rank: int) -> None:
        self._reason = self._reason or f"rank {rank} closed its connection and did not end"
        self.kill()

    def on_rank_load_failed(self, rank: int, code: str, reason: str) -> None:
        """A rank cannot load; it ends by itself, and the others with it."""
        if not self._reason:
            self.on_load_failed(code, f"rank {rank}: {reason}")

    def on_rank_metrics(self, records: list[MetricRecord]) -> None:
        """The handler of some rank recorded metrics."""
        self.on_metrics(records)

    def _exit_cause(self, returncode: int) -> str:
        rank = 0 if self._processes is None else self._processes.first
        return f"rank {rank}: {exit_cause(returncode)}"

    def _finish_life(self) -> None:
        self._stop_waiting()
        self._answered = None
        for follower in self._followers:
            self._listener.forget(follower)
            follower.disown()
        self._followers = []
        self._processes = None
        if self._port is not None:
            self._port.close()
            self._port = None
        super()._finish_life()

    def _step(self, event: WorkerEvent) -> None:
        super()._step(event)
        if self.state is WorkerState.STOPPED:
            self._group.release()


class Follower:
    """A rank other than 0: takes part in every batch and answers none.

    Args:
        worker: the worker it is a part of.
        rank: which one, from 1.
        worker_id: the name it greets with.
        token: the secret that proves it.
    """

    def __init__(self, worker: GroupWorker, rank: int, worker_id: str, token: str) -> None:
        self.worker_id = worker_id
        self.token = token
        self.rank = rank
        self.pending = 0
        """Batches it has got and not finished."""
        self.is_loaded = False
        self._worker = worker
        self._channel: WorkerChannel | None = None

    def __repr__(self) -> str:
        return f"<Follower {self.worker_id}>"

    def relay(self, frame: Frame, buffers: list[Buffer]) -> None:
        """Send a copy of what rank 0 gets. A rank that is gone takes its worker with it."""
        if self._channel is not None and self._channel.is_serving:
            self._channel.relay(frame, buffers)
            self.pending += type(frame) is Predict

    def shutdown(self, reason: str) -> None:
        """Ask it to exit after what it has got."""
        if self._channel is not None and self.is_loaded:
            self._channel.shutdown(reason)

    def disown(self) -> None:
        """Its worker's life is over."""
        if self._channel is not None:
            self._channel.disown()
            self._channel = None

    # What it hears of its channel.

    def on_greeted(self, channel: WorkerChannel, hello: Hello) -> tuple[Load, int]:
        """The process connected."""
        del hello
        self._channel = channel
        return self._worker.load_of(self)

    def on_loaded(self, load_ms: float) -> None:
        """Its handler is ready."""
        self.is_loaded = True
        self._worker.on_rank_loaded(load_ms)

    def on_load_failed(self, code: str, reason: str) -> None:
        """Its handler cannot be loaded."""
        self._worker.on_rank_load_failed(self.rank, code, reason)

    def on_done(self, batch_id: int) -> None:
        """It has run a batch."""
        if not self.pending:
            msg = f"batch {batch_id} is done and was never sent"
            raise ProtocolError(msg)
        self.pending -= 1
        self._worker.on_rank_done()

    def on_free(self, batch: Batch, service_us: int | None) -> None:
        """Never called: its channel has no batches of its own, and refuses answers to any."""
        raise AssertionError

    def on_metrics(self, records: list[MetricRecord]) -> None:
        """Its handler recorded metrics."""
        self._worker.on_rank_metrics(records)

    def on_channel_lost(self) -> None:
        """Its socket was read to the end."""
        self._worker.on_rank_lost(self)


class ProcessGroup:
    """The processes of a worker, seen as one `Process`: it has ended when all have.

    Args:
        on_exit: called once with the return code of the process that ended first.
        on_first_exit: called once with the rank of that process, when it has ended.
    """

    def __init__(
        self, on_exit: Callable[[int], None], on_first_exit: Callable[[int], None]
    ) -> None:
        self.returncode: int | None = None
        self.first = 0
        """Rank that ended first."""
        self._on_exit = on_exit
        self._on_first_exit = on_first_exit
        self._members: dict[int, Process] = {}
        self._codes: dict[int, int] = {}
        self._is_complete = False
        self._is_abandoned = False
        self._is_ending = False
        self._timer: asyncio.TimerHandle | None = None

    # While they are being started...

    def add(self, rank: int, process: Process) -> None:
        """Another one was started."""
        self._members[rank] = process

    def complete(self) -> None:
        """All were started; some may have ended already."""
        self._is_complete = True
        if self._codes:
            # In a later turn of the loop: the worker has to be given this object first.
            asyncio.get_running_loop().call_soon(self._review)

    def abandon(self) -> None:
        """Not all could be started: end those that were, and tell nobody."""
        self._is_abandoned = True
        self.kill()

    # ...and after.

    @property
    def pid(self) -> int:
        """Process id of rank 0."""
        return self._members[0].pid

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run."""
        return [each.pid for each in self._members.values() if each.returncode is None]

    @property
    def tail(self) -> deque[str]:
        """The last lines of the one that ended first."""
        return self._members[self.first].tail

    def kill(self) -> None:
        """End all of them now."""
        for process in self._members.values():
            process.kill()

    def abort(self) -> None:
        """Make each write the stack of every thread to its log, and end."""
        for process in self._members.values():
            process.abort()

    def ended(self, rank: int, returncode: int) -> None:
        """One of them has ended."""
        if not self._codes:
            self.first = rank
        self._codes[rank] = returncode
        if self._is_complete and not self._is_abandoned:
            self._review()

    def _review(self) -> None:
        """Some have ended: have the others end, too; report it when all have."""
        if self.returncode is not None:
            return
        if len(self._codes) == len(self._members):
            if self._timer is not None:
                self._timer.cancel()
            self.returncode = self._codes[self.first]
            self._on_exit(self.returncode)
        elif not self._is_ending:
            self._is_ending = True
            self._on_first_exit(self.first)
            # A rank that leaves in peace was told to, as the others were.
            delay_s = 0.0 if self._codes[self.first] else END_GRACE_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.kill)
