"""Serves a language model with vLLM."""

from tsl.backend.handlers.vllm_handler import VLLMHandler

__all__ = ["VLLMHandler"]
