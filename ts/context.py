"""What a handler can ask about its model and requests."""

from tsl.backend.context import Context, RequestProcessor

__all__ = ["Context", "RequestProcessor"]
