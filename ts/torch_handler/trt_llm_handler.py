"""Serves a language model with TensorRT-LLM."""

from tsl.backend.handlers.trt_llm_handler import TRTLLMHandler

__all__ = ["TRTLLMHandler"]
