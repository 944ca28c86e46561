"""Run the steps of a handler as a pipeline."""

from tsl.backend.micro_batching import HANDLER_METHODS, MicroBatching, WorkerThread, execute_call

__all__ = ["HANDLER_METHODS", "MicroBatching", "WorkerThread", "execute_call"]
