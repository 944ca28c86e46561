"""Split text into tokens and n-grams."""

from tsl.backend.text import get_tokenizer, ngrams_iterator

__all__ = ["get_tokenizer", "ngrams_iterator"]
