"""Answers the most probable classes of an image."""

from tsl.backend.handlers.image_classifier import ImageClassifier

__all__ = ["ImageClassifier"]
