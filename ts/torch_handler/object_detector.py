"""Answers the boxes that a detection model finds."""

from tsl.backend.handlers.object_detector import ObjectDetector

__all__ = ["ObjectDetector"]
