"""The envelope of instances and predictions."""

from tsl.backend.envelopes.json import JSONEnvelope

__all__ = ["JSONEnvelope"]
