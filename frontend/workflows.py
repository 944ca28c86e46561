"""Register and unregister workflows: the only writer of what can be run.

A workflow is registered as a whole or not at all. Each of its nodes is an ordinary model version
of `ModelManager`, under the name ``<workflow>__<node>``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from tsl.model_store import ModelVersion, Workflow, WorkflowRequest, WorkflowStore
from tsl.protocol.errors import Conflict, ShuttingDown, TslError
from tsl.protocol.workflow_errors import WorkflowLoadFailed, WorkflowNotFound

from .jobs import Job
from .management import ModelManager
from .name_locks import NameLocks
from .registry import ModelRegistry
from .workflow_run import WorkflowPlan, WorkflowRun

logger = logging.getLogger(__name__)


class ServedWorkflow:
    """A workflow that is served, and the requests that are on their way through it.

    Args:
        workflow: what is served.
        registry: where the models of its nodes are.
    """

    def __init__(self, workflow: Workflow, registry: ModelRegistry) -> None:
        self.workflow = workflow
        self._registry = registry
        self.plan = WorkflowPlan(workflow)
        self._runs: set[WorkflowRun] = set()
        self._idle: asyncio.Event | None = None

    @property
    def running(self) -> int:
        """Requests on their way."""
        return len(self._runs)

    def run(self, job: Job) -> None:
        """Take a request in; it is answered exactly once.

        Args:
            job: the request; nobody else may hold it.
        """
        run = WorkflowRun(self.plan, self._registry, job, self._ended)
        self._runs.add(run)
        run.start()

    def _ended(self, run: WorkflowRun) -> None:
        self._runs.discard(run)
        if self._idle is not None and not self._runs:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Wait until all requests are answered; then answer the rest with an error.

        Args:
            timeout_s: how long to wait.
        """
        self._idle = asyncio.Event()
        if not self._runs:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            logger.warning("workflow %s: %d requests were not done", self.plan.name, self.running)
            for run in tuple(self._runs):
                run.abort(ShuttingDown("The workflow is being unregistered."))


class WorkflowManager:
    """Everything that changes which workflows are served.

    Args:
        models: serves the nodes.
        store: finds archives.
        drain_s: how long unregistering waits for running requests.
    """

    def __init__(self, models: ModelManager, store: WorkflowStore, drain_s: float) -> None:
        self._models = models
        self._store = store
        self._drain_s = drain_s
        self._served: dict[str, ServedWorkflow] = {}
        self._locks = NameLocks()

    def get(self, name: str) -> ServedWorkflow:
        """A workflow.

        Raises:
            WorkflowNotFound: there is no such workflow.
        """
        served = self._served.get(name)
        if served is None:
            raise WorkflowNotFound(f"Workflow not found: {name}")
        return served

    def all(self) -> list[Workflow]:
        """What is served, by name."""
        return [served.workflow for _, served in sorted(self._served.items())]

    async def register(self, request: WorkflowRequest) -> Workflow:
        """Serve another workflow; returns when all its workers are ready.

        Raises:
            Conflict: the name is taken.
            WorkflowLoadFailed: a node cannot be served; nothing stays behind.
            TslError: the archive cannot be found or used.
        """
        workflow = await asyncio.to_thread(self._store.resolve, request)
        try:
            async with self._locks.of(workflow.name):
                if workflow.name in self._served:
                    raise Conflict(f"Workflow {workflow.name} is already registered.")
                await self._serve_nodes(workflow)
                self._served[workflow.name] = ServedWorkflow(workflow, self._models.registry)
        except BaseException:
            await asyncio.to_thread(self._store.remove, workflow)
            raise
        return workflow

    async def unregister(self, name: str) -> None:
        """Stop serving a workflow: requests on their way are answered, then its nodes go.

        Raises:
            WorkflowNotFound: there is no such workflow.
        """
        async with self._locks.of(name):
            served = self.get(name)
            del self._served[name]
            await served.drain(self._drain_s)
            workflow = served.workflow
            await self._withdraw(map(workflow.model_name, workflow.spec.nodes))
            await asyncio.to_thread(self._store.remove, workflow)

    # -- nodes -----------------------------------------------------------------------------------

    async def _serve_nodes(self, workflow: Workflow) -> None:
        """Register all nodes at the same time; if one fails, none stays."""
        versions = await self._resolve_nodes(workflow)
        tasks: list[asyncio.Task[object]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [
                    group.create_task(self._models.admit(version, wait=True, alone=True))
                    for version in versions
                ]
        except BaseException as error:  # also when the one who waits is cancelled
            # Whoever failed or was cancelled has undone itself.
            await self._withdraw(
                version.name
                for version, task in zip(versions, tasks, strict=True)
                if not task.cancelled() and task.exception() is None
            )
            failures = [
                (failure.message, failure)
                for task in tasks
                if not task.cancelled() and isinstance(failure := task.exception(), TslError)
            ]
            if isinstance(error, BaseExceptionGroup) and len(failures) == len(error.exceptions):
                raise _load_failure(workflow, failures) from error
            raise

    async def _resolve_nodes(self, workflow: Workflow) -> list[ModelVersion]:
        """Find and check the archives of all nodes; if one cannot be used, none is kept."""
        nodes = workflow.spec.nodes.values()
        found = await asyncio.gather(
            *(asyncio.to_thread(self._store.resolve_node, workflow, node) for node in nodes),
            return_exceptions=True,
        )
        failures = [
            (f"Workflow node {node.name}: {result.message}", result)
            for node, result in zip(nodes, found, strict=True)
            if isinstance(result, TslError)
        ]
        versions = [result for result in found if isinstance(result, ModelVersion)]
        if len(versions) == len(found):
            return versions
        for version in versions:
            await self._models.discard(version)
        for result in found:
            if isinstance(result, BaseException) and not isinstance(result, TslError):
                raise result
        raise _load_failure(workflow, failures)

    async def _withdraw(self, names: Iterable[str]) -> None:
        await asyncio.gather(*map(self._models.withdraw, names))


def _load_failure(workflow: Workflow, failures: list[tuple[str, TslError]]) -> WorkflowLoadFailed:
    reasons = ", ".join(text for text, _ in failures)
    text = f"Workflow {workflow.name} has failed to register. Failures: [{reasons}]"
    cause = failures[0][1]
    return WorkflowLoadFailed(text, cause, hint=cause.hint)
