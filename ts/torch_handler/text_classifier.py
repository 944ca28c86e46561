"""Answers the probability of every class of a text."""

from tsl.backend.handlers.text_classifier import TextClassifier

__all__ = ["TextClassifier"]
