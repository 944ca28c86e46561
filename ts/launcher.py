"""Start and stop a server from a script or a test."""

from tsl.backend.launching import register_model, register_model_with_params, start, stop

__all__ = ["register_model", "register_model_with_params", "start", "stop"]
