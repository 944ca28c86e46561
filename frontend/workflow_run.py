"""One request on its way through the nodes of a workflow.

Theory of operation. The request is a `Job` that no queue holds but its `WorkflowRun`; its one end
(answer, failure, deadline, or the client's leaving) is what a job's always is, so it is answered
exactly once, and whichever end comes ends the jobs of all nodes that still run. Each node is an
ordinary job in the queue of the node's model, with a `_NodeCall` as its sink. When a node is done,
its successors whose inputs are complete start from the same call: there is no task and no thread,
and thousands of requests cost a few objects each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tsl.model_store import Workflow
from tsl.protocol.errors import DeadlineExceeded, TslError
from tsl.protocol.frames import Chunk, Part, Reply, Row
from tsl.protocol.workflow_errors import NodeFailed

from .http_api.request_ids import new_request_id
from .jobs import Job
from .registry import ModelRegistry
from .workflow_answer import answer_of

logger = logging.getLogger(__name__)

_BODY: Final = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a run needs to know of a node.

    Attributes:
        name: the node.
        model_name: the model that serves it.
        inputs: numbers of its predecessors.
        names: under which their outputs are its input.
        successors: numbers of the nodes that get its output.
        retries: how often it is run again.
        timeout_s: limit for one attempt.
    """

    name: str
    model_name: str
    inputs: tuple[int, ...]
    names: tuple[str, ...]
    successors: tuple[int, ...]
    retries: int
    timeout_s: float


class WorkflowPlan:
    """A workflow as its runs see it: nodes by number.

    Args:
        workflow: what is served.
    """

    def __init__(self, workflow: Workflow) -> None:
        spec = workflow.spec
        numbers = {name: number for number, name in enumerate(spec.nodes)}
        self.name = workflow.name
        self.start = numbers[spec.start]
        self.leaves = tuple(numbers[name] for name in spec.leaves)
        self.steps = tuple(
            Step(
                name=name,
                model_name=workflow.model_name(name),
                inputs=tuple(numbers[each] for each in node.predecessors),
                names=node.predecessors if len(node.predecessors) > 1 else (_BODY,),
                successors=tuple(numbers[each] for each in node.successors),
                retries=node.settings.retry_attempts,
                timeout_s=node.settings.timeout_ms / 1000,
            )
            for name, node in spec.nodes.items()
        )


class WorkflowRun:
    """One request on its way; the holder of its job.

    Args:
        plan: the workflow.
        registry: where the models of its nodes are.
        job: the request; its row is the input of the first node.
        on_end: called once, when no node runs any more.
    """

    __slots__ = ("_calls", "_job", "_missing", "_on_end", "_outputs", "_plan", "registry")

    def __init__(
        self,
        plan: WorkflowPlan,
        registry: ModelRegistry,
        job: Job,
        on_end: Callable[[WorkflowRun], None],
    ) -> None:
        self.registry = registry
        self._plan = plan
        self._job = job
        self._on_end = on_end
        self._missing = [len(step.inputs) for step in plan.steps]
        self._outputs: dict[int, Reply] = {}
        self._calls: set[_NodeCall] = set()

    def start(self) -> None:
        """Take the request in; from here on it is answered exactly once."""
        job = self._job
        job.queue = self
        if job.deadline is not None:
            delay_s = max(job.deadline - time.monotonic(), 0.0)
            job.timer = asyncio.get_running_loop().call_later(delay_s, job.expire)
        self._start(self._plan.start, job.row.parts)

    def remove(self, job: Job) -> bool:
        """The request has been withdrawn: stop all that is done for it."""
        del job
        self._end()
        return True

    def abort(self, error: TslError) -> None:
        """Answer now, with an error; an answer that was given stays."""
        if not self._job.is_settled:
            self._end()
            self._job.fail(error)

    # -- what nodes report -----------------------------------------------------------------------

    def done(self, call: _NodeCall, reply: Reply) -> None:
        """A node has an output: start what has waited for it, or answer."""
        self._calls.discard(call)
        outputs = self._outputs
        outputs[call.number] = reply
        steps, missing = self._plan.steps, self._missing
        for number in call.step.successors:
            missing[number] -= 1
            if not missing[number]:
                step = steps[number]
                parts = [
                    Part(name, "", outputs[each].body)
                    for name, each in zip(step.names, step.inputs, strict=True)
                ]
                self._start(number, parts)
                if self._job.is_settled:  # it has failed at once
                    return
        leaves = self._plan.leaves
        if all(number in outputs for number in leaves):
            self._end()
            self._job.finish(answer_of([(steps[n].name, outputs[n]) for n in leaves]))

    def failed(self, call: _NodeCall, error: TslError) -> None:
        """A node has failed for good."""
        self._calls.discard(call)
        step, attempts = call.step, call.attempts
        times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        logger.warning(
            "%s: workflow %s: node %s, request %s, failed after %s: %s (%s)",
            *(self._job.row.request_id, self._plan.name, step.name, call.row.request_id),
            *(times, error.message, error.code),
        )
        reason: object = error
        if isinstance(error, DeadlineExceeded):
            reason = f"no answer within {step.timeout_s * 1000:.0f} ms (timeout-ms)."
        text = f"Workflow {self._plan.name}: Error executing {step.name} after {times}: {reason}"
        self.abort(NodeFailed(text, error))

    # -- helpers ---------------------------------------------------------------------------------

    def _start(self, number: int, parts: list[Part]) -> None:
        row = Row(new_request_id(), self._job.row.headers, [], parts)
        call = _NodeCall(self, number, self._plan.steps[number], row)
        self._calls.add(call)
        call.attempt()

    def _end(self) -> None:
        """Stop the nodes that still run; nothing of them is heard any more."""
        calls, self._calls = self._calls, set()
        for call in calls:
            call.cancel()
        self._on_end(self)


class _NodeCall:
    """One node of a run, with its attempts: the sink of their jobs.

    Args:
        run: told about the end.
        number: of the node.
        step: the node.
        row: what each attempt sends.
    """

    __slots__ = ("_job", "_retry", "_run", "attempts", "number", "row", "step")

    def __init__(self, run: WorkflowRun, number: int, step: Step, row: Row) -> None:
        self._run = run
        self.number = number
        self.step = step
        self.row = row
        self.attempts = 0
        self._job: Job | None = None
        self._retry: asyncio.Handle | None = None

    def attempt(self) -> None:
        """Queue the node's job."""
        self._retry = None
        self.attempts += 1
        now = time.monotonic()
        try:
            served = self._run.registry.get(self.step.model_name)
            limit_s = self.step.timeout_s
            if served.client_timeout_s:
                limit_s = min(limit_s, served.client_timeout_s)
            self._job = Job(self.row, self, now, now + limit_s)
            served.pool.submit(self._job)
        except TslError as error:
            self._on_error(error)

    def cancel(self) -> None:
        """Nobody waits for the node any more."""
        job, self._job = self._job, None
        if self._retry is not None:
            self._retry.cancel()
        if job is not None:
            job.cancel()

    # -- the sink of its jobs ----------------------------------------------------------------------

    def finish(self, job: Job, reply: Reply) -> None:
        """The node's output."""
        del job
        self._job = None
        self._run.done(self, reply)

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """The first piece of a stream is the node's output, as in TorchServe; no rest is wanted."""
        if job is not self._job:
            return
        self._job = None
        self._run.done(self, Reply(chunk.status, chunk.phrase, chunk.headers, "", chunk.body))
        job.cancel()

    def fail(self, job: Job, error: TslError) -> None:
        """The attempt has no output."""
        if job is self._job:  # else it was cancelled here
            self._on_error(error)

    def _on_error(self, error: TslError) -> None:
        self._job = None
        if self.attempts > self.step.retries:
            self._run.failed(self, error)
        else:
            # Not from inside of a pool that is answering its jobs, and not on top of its stack.
            self._retry = asyncio.get_running_loop().call_soon(self.attempt)
