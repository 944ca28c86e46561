"""Split text into tokens and n-grams; no model, no vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_SPACED: Final = re.compile(r"(['.,()!?])")
_BLANK: Final = re.compile(r"<br />|[;:]|\s+")
_SPACES: Final = re.compile(r" {2,}")


def ngrams_iterator(tokens: Sequence[str], ngrams: int) -> Iterator[str]:
    """All tokens, then all pairs, and so on up to ``ngrams`` tokens, joined by one space.

    Args:
        tokens: words of a text, in order.
        ngrams: length of the longest group.
    """
    yield from tokens
    for length in range(2, ngrams + 1):
        for start in range(len(tokens) - length + 1):
            yield " ".join(tokens[start : start + length])


def ngram_count(token_count: int, ngrams: int) -> int:
    """How many items `ngrams_iterator` yields."""
    return sum(max(token_count - length + 1, 0) for length in range(1, ngrams + 1))


def get_tokenizer(tokenizer: str | None, language: str = "en") -> Callable[[str], list[str]]:
    """Find a tokenizer.

    Args:
        tokenizer: None splits at blanks; ``basic_english`` lowers and separates punctuation.
        language: must be ``en``.

    Raises:
        ValueError: there is no such tokenizer for this language.
    """
    if language != "en":
        msg = f"there is no tokenizer for language {language!r}; only 'en'"
        raise ValueError(msg)
    if tokenizer is None:
        return str.split
    if tokenizer == "basic_english":
        return _basic_english
    msg = f"there is no tokenizer {tokenizer!r}; use 'basic_english' or None"
    raise ValueError(msg)


def _basic_english(line: str) -> list[str]:
    text = _BLANK.sub(" ", line.lower()).replace('"', "")
    return _SPACES.sub(" ", _SPACED.sub(r" \1 ", text)).split()
