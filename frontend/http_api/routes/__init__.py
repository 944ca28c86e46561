"""The route tables of the listeners: what is served, and how it is described.

Order is precedence. ``*`` among the methods means any method: TorchServe's inference API does not
look at it. An alias has no `Operation` and stays out of the description.
"""

from .common import common_routes, metrics_routes
from .inference import inference_routes, platform_routes
from .kserve import v1_routes
from .management import management_routes, token_routes
from .open_inference import open_inference_routes, repository_routes, settings_routes
from .shared_memory import shared_memory_routes
from .workflows import workflow_inference_routes, workflow_management_routes

__all__ = [
    "common_routes",
    "inference_routes",
    "management_routes",
    "metrics_routes",
    "open_inference_routes",
    "platform_routes",
    "repository_routes",
    "settings_routes",
    "shared_memory_routes",
    "token_routes",
    "v1_routes",
    "workflow_inference_routes",
    "workflow_management_routes",
]
