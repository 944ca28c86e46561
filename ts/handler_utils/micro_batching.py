"""Run the steps of a handler as a pipeline."""

from tsl.backend.micro_batching import HANDLER_METHODS, MicroBatching, WorkerThread

__all__ = ["HANDLER_METHODS", "MicroBatching", "WorkerThread"]
