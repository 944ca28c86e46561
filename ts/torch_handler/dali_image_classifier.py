"""Answers the most probable classes of an image, with NVIDIA DALI."""

from tsl.backend.handlers.dali_image_classifier import DALIImageClassifier

__all__ = ["DALIImageClassifier"]
