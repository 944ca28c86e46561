"""Draw which places of a picture speak for a class."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from PIL import Image, ImageFilter

_DIM: Final = 0.75  # how much of the light is taken from what says nothing
_TINT: Final = 0.2
_COLOUR: Final = (255, 96, 0)
_BLUR: Final = 1 / 50  # of the longer side: single pixels of a map are noise to the eye
_COARSE: Final = 32  # a map with fewer cells a side is shown as it is
_PEAK: Final = 0.995  # this share of the cells is below full strength: one outlier must not dim all
_SHOWN_PIXELS: Final = 448


@dataclass(frozen=True, slots=True)
class ExplainedImage:
    """One image, and why it is taken for something.

    Attributes:
        picture: as the model saw it.
        relevance: shape (rows, columns), positive where it speaks for the class.
        label: the class.
        top: the most probable classes with their probabilities; empty if the model has none.
        figures: further numbers by name.
    """

    picture: Image.Image
    relevance: torch.Tensor
    label: str
    top: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    def draw(self) -> Image.Image:
        """The picture, lit where it speaks for the class and dimmed elsewhere."""
        return draw(self.relevance, self.picture)


def draw(relevance: torch.Tensor, picture: Image.Image) -> Image.Image:
    """Lay a map of relevance over a picture.

    Args:
        relevance: shape (rows, columns), of any scale; what is negative counts as nothing.
        picture: what it is laid over; the map is stretched to its size.

    Returns:
        An RGB image of the picture's size.
    """
    strength = relevance.detach().float().cpu().clamp(min=0)
    peak = float(torch.quantile(strength, _PEAK)) or float(strength.max()) or 1.0
    rows, columns = strength.shape
    levels = strength.div(peak).clamp(max=1).mul(255).round().to(torch.uint8)
    heat = Image.frombytes("L", (columns, rows), levels.numpy().tobytes())
    heat = heat.resize(picture.size, Image.Resampling.BICUBIC)
    if max(rows, columns) > _COARSE:
        heat = _stretched(heat.filter(ImageFilter.GaussianBlur(max(picture.size) * _BLUR)))
    picture = picture.convert("RGB")
    dimmed = Image.blend(picture, Image.new("RGB", picture.size), _DIM)
    lit = Image.blend(picture, Image.new("RGB", picture.size, _COLOUR), _TINT)
    return Image.composite(lit, dimmed, heat)


def _stretched(heat: Image.Image) -> Image.Image:
    """Full strength again for the strongest place: a blur flattens peaks."""
    highest = int(heat.getextrema()[1])  # type: ignore[arg-type]  # one band, one pair
    return heat.point(lambda level: level * 255 / highest) if highest else heat


def to_png(images: Sequence[Image.Image]) -> bytes:
    """Images side by side, as a PNG file."""
    sheet = Image.new("RGB", (sum(each.width for each in images), max(e.height for e in images)))
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def to_page(model: str, images: Sequence[ExplainedImage]) -> bytes:
    """A page that needs nothing else: pictures are in it, scripts are not.

    Args:
        model: its name, for the title.
        images: what is explained.
    """
    return page_of(model, map(_section, images))


def page_of(model: str, sections: Iterable[str]) -> bytes:
    """The page around what is explained.

    Args:
        model: its name, for the title.
        sections: HTML.
    """
    title = html.escape(f"Why? {model}")
    return f"{_HEAD.format(title=title)}{''.join(sections)}</body></html>\n".encode()


def _section(image: ExplainedImage) -> str:
    parts = [
        f"<section><h1>Why “{html.escape(image.label)}”?</h1><div class=pictures>",
        _figure(image.picture, "what the model saw"),
        _figure(image.draw(), "lit: what speaks for it"),
        "</div>",
        table_of_top(image.top),
        table_of_figures(image.figures),
        "</section>",
    ]
    return "".join(parts)


def table_of_top(top: Mapping[str, float]) -> str:
    """Classes with their probabilities as HTML; "" for none."""
    rows = "".join(_bar(*pair) for pair in top.items())
    return f"<table><caption>Most probable</caption>{rows}</table>" if rows else ""


def table_of_figures(figures: Mapping[str, Any]) -> str:
    """Numbers by name as HTML; "" for none."""
    rows = "".join(
        f"<tr><th>{html.escape(name)}<td>{html.escape(_number(value))}"
        for name, value in figures.items()
    )
    return f"<table><caption>Figures</caption>{rows}</table>" if rows else ""


def _figure(picture: Image.Image, caption: str) -> str:
    data = base64.b64encode(to_png([picture])).decode("ascii")
    width = min(_SHOWN_PIXELS, picture.width * max(1, _SHOWN_PIXELS // picture.width))
    return (
        f'<figure><img alt="{caption}" width={width} src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _bar(label: str, probability: float) -> str:
    share = min(max(probability, 0.0), 1.0)
    return (
        f"<tr><th>{html.escape(label)}<td>{probability:.4f}"
        f"<td class=bar><meter value={share:.4f}></meter>"
    )


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_HEAD: Final = """<!DOCTYPE html>
<html lang=en><head><meta charset=utf-8><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;
color:#222;background:#fff}}
h1{{font-size:1.4rem}} .pictures{{display:flex;flex-wrap:wrap;gap:1rem}} figure{{margin:0}}
img{{max-width:100%;image-rendering:auto}} figcaption,caption{{color:#666;text-align:left}}
table{{border-spacing:0 .2rem;margin:1rem 0}} th{{font-weight:400;text-align:left;
padding-right:1rem}} td{{text-align:right;font-variant-numeric:tabular-nums;max-width:40rem}}
.bar meter{{width:12rem;margin-left:1rem}}
@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}}}
</style></head><body>"""
