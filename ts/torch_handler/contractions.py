"""English contractions."""

from tsl.backend.handlers.contractions import CONTRACTION_MAP

__all__ = ["CONTRACTION_MAP"]
