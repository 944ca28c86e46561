"""Makes the helper modules beside this file importable from every test.

Tests are collected with ``--import-mode=importlib``, which puts no folder on the search path;
this one is put there, last, so that ``from fakes import FakeTransport`` works whatever the
working directory is. The root of the repository must stay off the path: ``import protocol``
would load a second copy of the package.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)

# No deadlines: the machine may be busy. In CI the same examples every time: see fuzzing.py.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
