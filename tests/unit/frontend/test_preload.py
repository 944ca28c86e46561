"""Which modules a handler is going to import, found by looking at its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsl.frontend.preload import MAX_SOURCE_BYTES, find_preload


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
