"""Answers the class of every pixel."""

from tsl.backend.handlers.image_segmenter import ImageSegmenter

__all__ = ["ImageSegmenter"]
