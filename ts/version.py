"""Version of the TorchServe interface that the package ``ts`` offers."""

from typing import Final

__version__: Final = "0.12.0"

__all__ = ["__version__"]
