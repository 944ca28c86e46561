"""Rules of this code base that no tool checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("protocol", "model_store", "backend", "frontend", "cli")
PRODUCT = sorted(
    path
    for package in (*OURS, "ts", "model_archiver", "workflow_archiver")
    for path in (ROOT / package).rglob("*.py")
)
ALL = sorted(
    [
        *PRODUCT,
        *(
            path
            for folder in ("tests", "scripts", "benchmarks", "examples")
            for path in (ROOT / folder).rglob("*.py")
            if "mypy_path" not in path.parts
        ),
    ]
)
MAX_LINES = 600


def name(path):
    return str(path.relative_to(ROOT))


def imported(tree):
    """Top-level names of absolute imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_there_is_something_to_check():
    assert len(PRODUCT) > 60
    assert {path.relative_to(ROOT).parts[0] for path in PRODUCT} == {
        *OURS,
        "ts",
        "model_archiver",
        "workflow_archiver",
    }


@pytest.mark.parametrize("path", ALL, ids=name)
def test_packages_are_never_imported_by_their_bare_names(path):
    """From the root ``import protocol`` would work, and load everything a second time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert not set(imported(tree)) & set(OURS)


@pytest.mark.parametrize("package", [*OURS, "ts"])
def test_every_package_is_typed(package):
    """The marker counts for the packages below it, too."""
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_no_file_is_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
