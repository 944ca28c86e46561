"""Keep the package ``ts`` ours in workers, whatever else is installed under that name.

TorchServe's own distribution also brings a package ``ts``. Installed beside tsl, the two overwrite
each other file by file, and removing one removes files of the other. So tsl installs its names a
second time, as ``tsl._ts`` (the same sources), where nobody else writes. A worker imports ``ts``
from there: a finder before all others answers for the package itself, and its modules are then
found by the package's own path.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

NAME: Final = "ts"
PRIVATE_NAME: Final = "tsl._ts"


class TsFinder(MetaPathFinder):
    """Finds the package ``ts``, and nothing else.

    Args:
        private_name: the package whose files it consists of.
    """

    def __init__(self, private_name: str = PRIVATE_NAME) -> None:
        self._private_name = private_name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where ``ts`` is; None for every other module, or when there is no private copy."""
        if fullname != NAME:
            return None
        private = importlib.util.find_spec(self._private_name)
        if private is None or private.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            NAME, private.origin, submodule_search_locations=[str(Path(private.origin).parent)]
        )


def keep_ts_ours() -> None:
    """From now on, ``import ts`` gives ours. Call it once, before anything of a model is imported."""
    if not any(isinstance(finder, TsFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TsFinder())
