"""From what a client sent to the words to speak."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_LETTERS: Final = 2000
"""Longest text of one request."""

MAX_DELAY_S: Final = 1.0
"""Longest pause that a client may ask for between two phonemes."""


class UnusableText(Exception):
    """The client's mistake; the text tells them what is wrong."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One request.

    Attributes:
        words: lower-case words, letters and apostrophes only; at least one.
        delay_s: pause after each phoneme, so that people can watch.
    """

    words: tuple[str, ...]
    delay_s: float = 0.0


def read_speech(row: Mapping[str, Any]) -> Speech:
    """Find the text of one request.

    A body of plain text is the text. A form or a JSON body has it in ``text`` (or ``data``),
    and may have a ``delay`` in seconds.

    Args:
        row: parameter names to values, as a handler receives it.

    Raises:
        UnusableText: there is no word in it, it is too long, or the delay is no number.
    """
    body = row.get("body")
    fields: Mapping[str, Any] = body if isinstance(body, Mapping) else row
    text = _as_text(fields.get("text") or fields.get("data") or fields.get("body") or "")
    if len(text) > MAX_LETTERS:
        msg = f"The text has {len(text)} letters; {MAX_LETTERS} is the limit of this demo."
        raise UnusableText(msg)
    words = _words(text)
    if not words:
        msg = (
            "There is no English word to speak; send one as text/plain, "
            'as form field \'text\', or as JSON {"text": "inference"}.'
        )
        raise UnusableText(msg)
    return Speech(words, _delay(fields.get("delay")))


def refuse(message: str) -> str:
    """The answer to a request that cannot be served."""
    document = {"code": 400, "type": "BadRequestException", "message": message}
    return json.dumps(document, indent=2) + "\n"


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    msg = f"The text must be a string, not JSON of type {type(value).__name__}."
    raise UnusableText(msg)


def _words(text: str) -> tuple[str, ...]:
    # The model knows the letters a to z: é becomes e plus an accent, and the accent is dropped.
    plain = unicodedata.normalize(
        "NFD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    return tuple(re.findall(r"[a-z](?:[a-z']*[a-z])?", plain))


def _delay(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    try:
        delay_s = float(value)
    except (TypeError, ValueError):
        delay_s = math.nan
    if not 0.0 <= delay_s <= MAX_DELAY_S:
        msg = f"'delay' is a number of seconds from 0 to {MAX_DELAY_S:g}, between two phonemes."
        raise UnusableText(msg)
    return delay_s
