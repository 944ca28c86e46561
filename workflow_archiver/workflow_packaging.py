"""Pack a workflow as the options say."""

from tsl.model_store.archiver.workflow import generate_workflow_archive, package_workflow

__all__ = ["generate_workflow_archive", "package_workflow"]
