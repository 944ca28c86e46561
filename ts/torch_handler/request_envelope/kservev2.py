"""KServe protocol, version 2."""

from tsl.backend.envelopes.kservev2 import KServev2Envelope

__all__ = ["KServev2Envelope"]
