"""Expand English contractions the way existing text models were trained to see them.

The pattern knows no word boundaries and each replacement keeps the first character that was
matched. That yields oddities (``ain't`` becomes ``as not``), but other tokens than those seen in
training would yield worse predictions.
"""

from __future__ import annotations

import re
from typing import Final

_STEMS: Final = {
    ("n't", " not"): "are could did do does had has have is may might must need ought should was "
    "were would",
    ("'ve", " have"): "could i might must should so they to we what when where who why will would "
    "you",
    ("'d", " would"): "he i it she that there they we you",
    ("'ll", " will"): "he how i it she they we what who you",
    ("'re", " are"): "they we what you",
    ("'s", " is"): "he how it she that there what when where who why",
    ("'m", " am"): "i",
}

_IRREGULAR: Final = {
    "ain't": "is not",
    "can't": "cannot",
    "'cause": "because",
    "how'd": "how did",
    "where'd": "where did",
    "let's": "let us",
    "ma'am": "madam",
    "o'clock": "of the clock",
    "shan't": "shall not",
    "sha'n't": "shall not",
    "so's": "so as",
    "won't": "will not",
    "y'all": "you all",
}

CONTRACTION_MAP: Final = _IRREGULAR | {
    stem + ending: stem + full for (ending, full), stems in _STEMS.items() for stem in stems.split()
}

_PATTERN: Final = re.compile("|".join(map(re.escape, CONTRACTION_MAP)), re.IGNORECASE)


def expand_contractions(text: str) -> str:
    """Replace contractions, then delete the apostrophes that are left."""
    return _PATTERN.sub(_expand, text).replace("'", "")


def _expand(match: re.Match[str]) -> str:
    found = match.group()
    return found[0] + CONTRACTION_MAP[found.lower()][1:]
