"""Preprocessing with NVIDIA DALI."""

from tsl.backend.handlers.dali_handler import get_dali_pipeline

__all__ = ["get_dali_pipeline"]
