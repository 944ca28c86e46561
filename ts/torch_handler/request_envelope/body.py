"""The envelope that unwraps bodies."""

from tsl.backend.envelopes.body import BodyEnvelope

__all__ = ["BodyEnvelope"]
