"""Fetch models from the Hugging Face hub."""

from tsl.backend.hf_utils import download_model

__all__ = ["download_model"]
