"""Importing names of ``ts`` costs no more than they need; each case is a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ts

pytestmark = pytest.mark.e2e

ROOT = Path(ts.__file__).parent
LIGHT = sorted(
    ".".join(("ts", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name == "__init__.py"
    or not {"torch_handler", "preprocess"} & set(path.relative_to(ROOT).parts[:-1])
    or "unit_tests" in path.parts
    or "request_envelope" in path.parts
)


def imported(*modules):
    """Which heavy modules are there after importing these."""
    heavy = ["torch", "numpy", "PIL", "captum", "psutil", "requests", "tsl.frontend", "asyncio"]
    code = f"import sys, {', '.join(modules)}; print(*[m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout.split()


def test_modules_without_a_handler_import_nothing_heavy():
    assert imported(*LIGHT) == []


def test_handlers_import_torch_but_neither_captum_nor_the_server():
    found = imported("ts.torch_handler.image_classifier", "ts.torch_handler.text_classifier")

    assert "torch" in found
    assert "captum" not in found
    assert "tsl.frontend" not in found
