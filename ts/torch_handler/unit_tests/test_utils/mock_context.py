"""A context for tests of handlers that run without a server."""

from tsl.backend.mock_context import MockContext

__all__ = ["MockContext"]
