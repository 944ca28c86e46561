"""Why a class: which places of a picture the model's probability came from.

Integrated gradients (Sundararajan et al., 2017) over the network's last feature map, on the way
from a blurred copy of the picture to the picture: all contributions together are what the
details added to the probability, up to the convergence delta.

The feature map rather than the pixels: there the sum converges in a few steps of the small rest
of the network, tens of milliseconds, and the places are whole eyes and ears; attributions to
single pixels of this network take seconds and look like noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

STEPS: Final = 32
"""Points between the blurred copy and the picture; each costs a forward and a backward pass."""

_STEPS_AT_ONCE: Final = 8
_BLUR_PIXELS: Final = 32
_MAP_ROWS: Final = 14
_MAP_COLUMNS: Final = 28  # characters are about twice as high as wide
_SHADES: Final = " .:-=+*#%@"


@dataclass(frozen=True, slots=True)
class Relevance:
    """How much each place of one picture speaks for a class.

    Attributes:
        grid: relevance of each cell, [7, 7], -1 (against the class) to 1 (for it).
        scale: a cell's value times this is what the cell adds to the probability.
        probability: the model's probability of the class for the picture.
        baseline_probability: the same for the blurred copy.
        delta: sum of all contributions minus the difference of the two probabilities; the
            nearer to 0, the better the explanation.
    """

    grid: Tensor
    scale: float
    probability: float
    baseline_probability: float
    delta: float


def explain(model: Any, image: Tensor, target: int) -> Relevance:
    """Attribute the probability of a class to the places of a picture.

    Args:
        model: an `EfficientNetLite0` in evaluation mode.
        image: normalised pixels [3, H, W].
        target: number of the class.
    """
    # Captum takes a second to import, and a worker that never explains never needs it.
    from captum.attr import IntegratedGradients

    def probabilities(features: Tensor) -> Tensor:
        result: Tensor = model.classify(features).softmax(dim=1)
        return result

    picture = image.unsqueeze(0)
    with torch.no_grad():  # not inference mode: gradients of these values are taken below
        features = model.features(torch.cat([picture, _blur(picture)]))
        probability, blurred = probabilities(features)[:, target].tolist()
    contributions: Tensor = IntegratedGradients(probabilities).attribute(
        features[:1],
        baselines=features[1:],
        target=target,
        n_steps=STEPS,
        internal_batch_size=_STEPS_AT_ONCE,
    )
    cells = contributions.detach().sum(dim=1)[0].cpu()
    scale = cells.abs().max().item() or 1.0
    return Relevance(
        grid=cells / scale,
        scale=scale,
        probability=probability,
        baseline_probability=blurred,
        delta=cells.sum().item() - (probability - blurred),
    )


def describe(relevance: Relevance) -> dict[str, Any]:
    """The relevance as JSON values: for programs the numbers, for people a map in characters."""
    return {
        "probability": round(relevance.probability, 4),
        "method": (
            f"integrated gradients of the probability over the last feature map, {STEPS} steps "
            "from a blurred copy of the picture"
        ),
        "baseline_probability": round(relevance.baseline_probability, 6),
        "convergence_delta": round(relevance.delta, 6),
        "scale": round(relevance.scale, 6),
        "relevance": [[round(cell, 4) for cell in row] for row in relevance.grid.tolist()],
        "map": _map(relevance.grid),
    }


def figures(document: Mapping[str, Any]) -> dict[str, Any]:
    """What `describe` says in single numbers and words; the rest is the picture."""
    return {
        name.replace("_", " "): value
        for name, value in document.items()
        if not isinstance(value, list)
    }


def _blur(pictures: Tensor) -> Tensor:
    coarse = functional.avg_pool2d(pictures, _BLUR_PIXELS)
    return functional.interpolate(coarse, size=pictures.shape[-2:], mode="bilinear")


def _map(grid: Tensor) -> list[str]:
    """The positive relevance in characters, the denser the more, in the picture's proportions."""
    fine = functional.interpolate(
        grid.clamp(min=0)[None, None], size=(_MAP_ROWS, _MAP_COLUMNS), mode="bilinear"
    )
    # Stretched again, because interpolation flattens the peak; squared, so that it stands out.
    levels = (fine[0, 0] / (fine.max().item() or 1.0)) ** 2 * (len(_SHADES) - 1)
    return ["".join(_SHADES[level] for level in row) for row in levels.round().int().tolist()]
