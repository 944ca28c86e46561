"""Which modules a handler is going to import, found by looking at its source."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tsl.frontend.preload import MAX_SOURCE_BYTES, expected_modules, find_preload


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch\n", ("torch",)),
        ("import torch", ("torch",)),
        ("import torch.nn as nn\n", ("torch",)),
        ("import torch, os\n", ("torch",)),
        ("import torch; x = 1\n", ("torch",)),
        ("from torch import nn\n", ("torch",)),
        ("    import torch\n", ("torch",)),
        ("import torchvision\n", ()),
        ("import torch_xla\n", ()),
        ("# import torch\n", ()),
        ("from PIL import Image, ImageOps\n", ("PIL.Image",)),
        ("import PIL.Image\nimport torch\n", ("PIL.Image", "torch")),
        ("import PILE\n", ()),
        ("import os\n", ()),
        ("", ()),
        (
            "from ts.torch_handler.vision_handler import VisionHandler\n",
            ("ts.torch_handler.vision_handler",),
        ),
        ("from ts.torch_handler.distributed.base import X\n", ()),
        ("\xff import torch\nimport torch\n", ("torch",)),
    ],
)
def test_imports_of_a_source(tmp_path, source, expected):
    (tmp_path / "handler.py").write_bytes(source.encode("latin-1"))

    assert find_preload(tmp_path, "handler.py:handle") == expected


@pytest.mark.parametrize(
    "handler", ["image_classifier", "image_classifier:handle", "image_classifier.py"]
)
def test_a_built_in_handler_is_a_module_of_ours(tmp_path, handler):
    assert find_preload(tmp_path, handler) == ("ts.torch_handler.image_classifier",)


def test_a_file_of_the_model_hides_the_built_in_handler(tmp_path):
    (tmp_path / "image_classifier.py").write_text("import os\n")

    assert find_preload(tmp_path, "image_classifier") == ()


def test_all_sources_of_the_model_count_once_and_sorted(tmp_path):
    (tmp_path / "b.py").write_text("import torch\n")
    (tmp_path / "a.py").write_text("import torch\nfrom ts.torch_handler.base_handler import B\n")
    (tmp_path / "c.txt").write_text("import torch\n")

    assert find_preload(tmp_path, "a") == ("torch", "ts.torch_handler.base_handler")


def test_folders_large_files_and_dead_links_are_not_read(tmp_path):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "large.py").write_text("import torch\n" + "#" * MAX_SOURCE_BYTES)
    (tmp_path / "dead.py").symlink_to(tmp_path / "nowhere")

    assert find_preload(tmp_path, "h") == ()


def test_a_source_that_cannot_be_read_is_left_out(tmp_path, monkeypatch):
    """A wrong guess costs time, never correctness: it must not stop a registration."""
    (tmp_path / "handler.py").write_text("import torch\n")

    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)

    assert find_preload(tmp_path, "handler") == ()


# -- before it is unpacked


def write_archive(path, handler, members):
    manifest = {"model": {"handler": handler, "configFile": "c.yaml"}}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        for name, content in {"c.yaml": "", **members}.items():
            file.writestr(name, content)


TORCH = {"torch"}


@pytest.mark.parametrize(
    ("handler", "members", "expected"),
    [
        ("h.py", {"h.py": "import torch\n"}, TORCH),
        ("h.py", {"h.py": "import os\n", "model.py": "from torch import nn\n"}, TORCH),
        (
            "h.py",
            {"h.py": "import torch\n", "p.py": "from PIL import Image\n"},
            {"PIL.Image", *TORCH},
        ),
        ("h.py", {"h.py": "import os\n", "notes.txt": "import torch\n"}, set()),
        ("h.py", {"h.py": "import os\n", "deep/model.py": "import torch\n"}, set()),
        ("image_classifier", {"model.pt": "weights"}, {"ts.torch_handler.image_classifier"}),
        ("image_classifier", {"image_classifier.py": "import os\n"}, set()),
        ("h.py", {"h.py": "import torch\n", "c.yaml": "minWorkers: 0\n"}, set()),
        ("h.py", {"h.py": "import torch\n", "c.yaml": "minWorkers: 01\n"}, TORCH),
        ("h.py", {"h.py": "import torch\n", "c.yaml": "a: 1\nworkerStart: spawn\n"}, set()),
        ("h.py", {"h.py": "import torch\n", "c.yaml": "parallelType: pp\n"}, set()),
    ],
)
def test_an_archive_that_is_not_unpacked(tmp_path, handler, members, expected):
    write_archive(tmp_path / "m.mar", handler, members)

    assert expected_modules(tmp_path / "m.mar") == expected


def test_a_folder_is_read_as_an_archive_is(tmp_path):
    write_archive(tmp_path / "m.mar", "h.py", {"h.py": "import torch\n"})
    with zipfile.ZipFile(tmp_path / "m.mar") as file:
        file.extractall(tmp_path / "folder")

    assert expected_modules(tmp_path / "folder") == TORCH


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x1f\x8b of another kind"])
def test_nothing_is_expected_of_what_cannot_be_read(tmp_path, content):
    (tmp_path / "m.mar").write_bytes(content)

    assert expected_modules(tmp_path / "m.mar") == frozenset()
    assert expected_modules(tmp_path / "gone.mar") == frozenset()
