"""Tensors in, tensors out."""

from tsl.backend.handlers.densenet_handler import DenseNetHandler, list_classes_from_module

__all__ = ["DenseNetHandler", "list_classes_from_module"]
