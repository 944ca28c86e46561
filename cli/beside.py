"""Notice TorchServe's own packages in this environment, and say what that means.

They bring packages of the same names as ours, so that pip lets each overwrite the other. Nothing
of tsl depends on who was last (`tsl.backend.ts_names`), but other programs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distributions
from typing import Final

PACKAGES: Final = {
    "torchserve": "ts",
    "torch-model-archiver": "model_archiver",
    "torch-workflow-archiver": "workflow_archiver",
}
"""Distributions of TorchServe, and the package that each has in common with tsl."""

Find = Callable[..., Iterable[Distribution]]


def beside_warning(find: Find = distributions) -> str:
    """One line about TorchServe's packages beside tsl, "" without any.

    Args:
        find: looks for the distributions of a name.
    """
    found = {name: each.version for name in PACKAGES for each in find(name=name)}
    if not found:
        return ""
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    shared = ", ".join(PACKAGES[name] for name in found)
    be = "is" if len(found) == 1 else "are"
    return (
        f"{names} {be} installed beside tsl, with packages of the same names ({shared}). tsl and "
        "its workers use tsl's own; other programs may import a mixture of both. To keep tsl's: "
        f"pip uninstall {' '.join(found)}; pip install --force-reinstall --no-deps tsl"
    )
