"""The options of ``torch-workflow-archiver``."""

from tsl.model_store.archiver.workflow import WorkflowArgParser as ArgParser

__all__ = ["ArgParser"]
