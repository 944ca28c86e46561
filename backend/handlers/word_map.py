"""Draw which words of a text speak for a class, and which against it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from .heat_map import page_of, table_of_figures, table_of_top

MAX_DRAWN_WORDS: Final = 1000
"""A picture ends here; a page has all words."""

_FOR: Final = (255, 96, 0)
_AGAINST: Final = (0, 96, 255)
_WIDTH: Final = 720
_SIZE: Final = 20
_LINE: Final = 34
_MARGIN: Final = 16
_SPACE: Final = 8
_MAX_WORD: Final = 60  # letters of a word that are drawn


@dataclass(frozen=True, slots=True)
class ExplainedText:
    """One text, and why it is taken for something.

    Attributes:
        words: as the model saw them.
        relevance: one number for each, positive where it speaks for the class.
        label: the class.
        top: the classes with their probabilities.
        figures: further numbers by name.
    """

    words: Sequence[str]
    relevance: Sequence[float]
    label: str
    top: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    def strengths(self) -> list[float]:
        """Relevance from -1 to 1; the most relevant word has one of these."""
        peak = max(map(abs, self.relevance), default=0.0) or 1.0
        return [value / peak for value in self.relevance]

    def draw(self) -> Image.Image:
        """The words in lines, on orange where they speak for the class, on blue where against."""
        font = ImageFont.load_default(_SIZE)
        words = [word[:_MAX_WORD] for word in self.words[:MAX_DRAWN_WORDS]]
        if len(self.words) > MAX_DRAWN_WORDS:
            words.append("...")
        places, left, top = [], _MARGIN, _MARGIN
        for word in words:
            width = round(font.getlength(word))
            if left > _MARGIN and left + width > _WIDTH - _MARGIN:
                left, top = _MARGIN, top + _LINE
            places.append((left, top, width))
            left += width + _SPACE
        picture = Image.new("RGB", (_WIDTH, top + _LINE + _MARGIN), "white")
        pen = ImageDraw.Draw(picture)
        strengths = [*self.strengths()[:MAX_DRAWN_WORDS], 0.0]
        for (x, y, width), word, strength in zip(places, words, strengths, strict=False):
            pen.rectangle((x - 3, y, x + width + 3, y + _LINE - 6), fill=_shade(strength))
            pen.text((x, y + 2), word, font=font, fill="black")
        return picture


def _shade(strength: float) -> tuple[int, int, int]:
    """White for nothing, the full colour for one."""
    red, green, blue = _FOR if strength > 0 else _AGAINST
    share = min(abs(strength), 1.0) * 0.8
    return (
        round(255 + (red - 255) * share),
        round(255 + (green - 255) * share),
        round(255 + (blue - 255) * share),
    )


def to_text_page(model: str, text: ExplainedText) -> bytes:
    """A page that needs nothing else.

    Args:
        model: its name, for the title.
        text: what is explained.
    """
    marks = " ".join(map(_mark, text.words, text.relevance, text.strengths()))
    section = (
        f"<section><h1>Why “{html.escape(text.label)}”?</h1>"
        f"<p class=words>{marks}</p>"
        "<p><small>Orange speaks for it, blue against it; the number of a word is shown when "
        "the pointer is on it.</small></p>"
        f"{table_of_top(text.top)}{table_of_figures(text.figures)}</section>"
    )
    return page_of(model, [section])


def _mark(word: str, relevance: float, strength: float) -> str:
    red, green, blue = _FOR if strength > 0 else _AGAINST
    colour = f"rgba({red},{green},{blue},{min(abs(strength), 1.0) * 0.8:.2f})"
    shown = html.escape(word)
    return f'<mark style="color:inherit;background:{colour}" title="{relevance:.4g}">{shown}</mark>'
