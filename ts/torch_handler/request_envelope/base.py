"""What request envelopes share."""

from tsl.backend.envelopes.base import BaseEnvelope

__all__ = ["BaseEnvelope"]
