"""Workflows over HTTP: run them, and register, describe, list and unregister them."""

from __future__ import annotations

from typing import Any

from tsl.model_store import Workflow, WorkflowRequest, is_url
from tsl.protocol.errors import InvalidRequest, JobCancelled, MethodNotAllowed, TslError
from tsl.protocol.frames import Chunk, Reply, Row

from ..jobs import Job
from ..parameters import lenient_int, page_of
from ..workflows import WorkflowManager
from .body import parts_of
from .exchange import Exchange
from .messages import handler_headers
from .operations import Operations
from .parameters import query_of, registration_values
from .router import Params
from .submission import deadline_of


class WorkflowInference:
    """Endpoints that run a workflow.

    Args:
        workflows: what is served.
    """

    def __init__(self, workflows: WorkflowManager) -> None:
        self._workflows = workflows

    def predict(self, exchange: Exchange, params: Params) -> None:
        """``/wfpredict/{workflow_name}``; the query does not count, nor does a version."""
        request = exchange.request
        served = self._workflows.get(params["workflow_name"])
        parts = parts_of(request.content_type, request.body)
        row = Row(exchange.request_id, request.headers, [], parts)
        deadline = deadline_of(exchange, 0.0) if request.timeout_ms else None
        exchange.job = Job(row, _Answer(exchange), request.started_at, deadline)
        served.run(exchange.job)

    def require(self, name: str) -> None:
        """Refuse the name of a workflow that does not exist.

        Raises:
            WorkflowNotFound: it does not.
        """
        self._workflows.get(name)


class _Answer:
    """The sink of a request to a workflow; those of its nodes count as jobs, this one does not."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def finish(self, job: Job, reply: Reply) -> None:
        del job
        lines, _ = handler_headers(reply.headers)
        self._exchange.respond(bytes(reply.body), reply.status, lines)

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """Workflows do not stream."""

    def fail(self, job: Job, error: TslError) -> None:
        del job
        if isinstance(error, JobCancelled):
            self._exchange.job = None  # there is nothing left to cancel
            self._exchange.abandon()
        else:
            self._exchange.respond_error(error)


class WorkflowManagement:
    """Endpoints that change and show which workflows there are.

    Args:
        workflows: does the work.
        operations: runs what waits.
        can_download: whether archives may come from URLs (``enable_model_api``).
    """

    def __init__(
        self, workflows: WorkflowManager, operations: Operations, *, can_download: bool
    ) -> None:
        self._workflows = workflows
        self._run = operations.run
        self._can_download = can_download

    def list_workflows(self, exchange: Exchange, params: Params) -> None:
        """``GET /workflows``, in pages."""
        del params
        page, token = page_of(self._workflows.all(), query_of(exchange))
        document: dict[str, Any] = {}
        if token is not None:
            document["nextPageToken"] = token
        document["workflows"] = [
            {"workflowName": workflow.name, "workflowUrl": workflow.url} for workflow in page
        ]
        exchange.respond_json(document)

    def describe(self, exchange: Exchange, params: Params) -> None:
        """``GET /workflows/{workflow_name}``."""
        exchange.respond_json([_description(self._workflows.get(params["workflow_name"]).workflow)])

    def register(self, exchange: Exchange, params: Params) -> None:
        """``POST /workflows``; always answers when the workers are ready."""
        del params
        values = registration_values(exchange)
        if "url" not in values:
            raise InvalidRequest("Parameter url is required.")
        if is_url(values["url"]) and not self._can_download:
            raise MethodNotAllowed(
                "Registering workflows from elsewhere is switched off.",
                hint="Put the archive into the workflow store, or set enable_model_api=true.",
            )
        request = WorkflowRequest(
            url=values["url"],
            workflow_name=values.get("workflow_name") or None,
            response_timeout_s=_seconds(values, "response_timeout"),
            startup_timeout_s=_seconds(values, "startup_timeout"),
            sha256=values.get("sha256") or None,
        )
        self._run(exchange, self._register(exchange, request))

    async def _register(self, exchange: Exchange, request: WorkflowRequest) -> None:
        workflow = await self._workflows.register(request)
        text = f"Workflow {workflow.name} has been registered and scaled successfully."
        exchange.respond_json({"status": text})

    def unregister(self, exchange: Exchange, params: Params) -> None:
        """``DELETE /workflows/{workflow_name}``."""
        self._run(exchange, self._unregister(exchange, params["workflow_name"]))

    async def _unregister(self, exchange: Exchange, name: str) -> None:
        await self._workflows.unregister(name)
        exchange.respond_json({"status": f'Workflow "{name}" unregistered'})


def _description(workflow: Workflow) -> dict[str, Any]:
    spec = workflow.spec
    nodes = (f"{name}=[{', '.join(after)}]" for name, after in spec.dag.items())
    return {
        "workflowName": workflow.name,
        "workflowUrl": workflow.url,
        "minWorkers": spec.settings.min_workers,
        "maxWorkers": spec.settings.max_workers,
        "batchSize": spec.settings.batch_size,
        "maxBatchDelay": spec.settings.max_batch_delay_ms,
        "workflowDag": f"{{{', '.join(nodes)}}}",
    }


def _seconds(values: dict[str, str], name: str) -> int | None:
    number = lenient_int(values, name, -1)
    return number if number > 0 else None
