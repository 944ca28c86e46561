"""KServe protocol, version 1."""

from tsl.backend.envelopes.kserve import KServeEnvelope

__all__ = ["KServeEnvelope"]
