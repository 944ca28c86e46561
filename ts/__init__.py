"""The names that TorchServe handlers import, at the places where they look for them.

Modules in this package hold imports and nothing else; what they offer lives in `tsl.backend`.
"""

from .version import __version__

__all__ = ["__version__"]
