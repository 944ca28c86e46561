"""The errors of workflows, with their wire codes and statuses; `errors` explains what these are.

The tree::

    TslError
    ├── WorkflowNotFound          404
    ├── WorkflowUrlNotAllowed     404 (standard 403)
    ├── NodeError                 500
    │   ├── NodeFailed            500
    │   └── WorkflowLoadFailed    500
    ├── InvalidWorkflow           400
    └── InvalidDag                400

A `NodeError` is about a node of a workflow; its standard status is that of its cause.
"""

from __future__ import annotations

from .errors import TslError


class WorkflowNotFound(TslError):
    """No workflow has this name, or there is no such archive."""

    code = "workflow_not_found"
    type_name = "WorkflowNotFoundException"
    http_status = 404
    grpc_status = "NOT_FOUND"
    default_message = "Workflow not found."


class WorkflowUrlNotAllowed(TslError):
    """The location of a workflow archive is outside of what the server may read."""

    code = "workflow_url_not_allowed"
    type_name = "WorkflowNotFoundException"
    http_status = 404
    standard_status = 403
    grpc_status = "PERMISSION_DENIED"
    default_message = "The location of the archive is not allowed."


class InvalidWorkflow(TslError):
    """The archive of a workflow, its manifest or its specification cannot be used.

    TorchServe answers 500; but it is the archive that is wrong, not the server.
    """

    code = "invalid_workflow"
    type_name = "InvalidWorkflowException"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"
    default_message = "The workflow archive cannot be used."


class InvalidDag(TslError):
    """The graph of a workflow cannot be run; the message names the nodes."""

    code = "invalid_dag"
    type_name = "InvalidDAGException"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"
    default_message = "The dag of the workflow cannot be run."


class NodeError(TslError):
    """Base of what goes wrong with a node of a workflow.

    TorchServe answers 500 whatever the reason is. With standard statuses the answer has that of
    the reason: a full queue is 429, a silent node 504.

    Args:
        message: names the node, and says what happened.
        cause: the reason.
    """

    code = "node_error"

    def __init__(self, message: str = "", cause: TslError | None = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self._cause = cause

    def status(self, *, standard: bool = False) -> int:
        """500, or the standard status of the reason."""
        if standard and self._cause is not None:
            return self._cause.status(standard=True)
        return self.http_status


class NodeFailed(NodeError):
    """A node has failed as often as the workflow lets it."""

    code = "node_failed"
    default_message = "A node of the workflow failed."


class WorkflowLoadFailed(NodeError):
    """A node could not be registered; nothing of the workflow is."""

    code = "workflow_load_failed"
    type_name = "WorkflowException"
    default_message = "The workflow has failed to register."
