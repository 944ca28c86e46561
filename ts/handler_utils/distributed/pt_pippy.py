"""Pipelines over a group of processes."""

from tsl.backend.distributed import get_pipeline_driver, initialize_rpc_workers

__all__ = ["get_pipeline_driver", "initialize_rpc_workers"]
