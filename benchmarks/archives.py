"""Archives of the benchmark's models, for tsl and for TorchServe."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tsl.cli.demo.sources import CAT_PICTURE, LITE0_WEIGHTS, locate

HANDLERS: Final = Path(__file__).parent / "handlers"
SERVICES: Final = Path(__file__).parent / "services"
WORK: Final = Path(__file__).parent / "work.py"
_DEMO: Final = Path(__file__).parent.parent / "cli" / "demo"


def write_archive(
    target: Path,
    handler: str,
    settings: Mapping[str, Any],
    members: Mapping[str, bytes | Path] | None = None,
) -> None:
    """Write an archive around one handler file.

    Args:
        target: the archive; its stem is the model's name.
        handler: file in `HANDLERS`.
        settings: what its ``model-config.yaml`` says.
        members: further files by name.
    """
    manifest = {
        "runtime": "python",
        "model": {
            "modelName": target.stem,
            "modelVersion": "1.0",
            "handler": handler,
            "configFile": "model-config.yaml",
        },
    }
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.write(HANDLERS / handler, handler)
        archive.writestr("model-config.yaml", yaml.safe_dump(dict(settings)))
        for name, content in (members or {}).items():
            if isinstance(content, Path):
                archive.write(content, name)
            else:
                archive.writestr(name, content)


def classifier_files() -> dict[str, bytes | Path]:
    """What the classifier consists of, by file name: code, weights, class names.

    Raises:
        ConfigError: the packages of the extra ``demo`` are not installed.
    """
    (weights,) = locate(LITE0_WEIGHTS)
    names = json.loads((_DEMO / "imagenet_classes.json").read_text(encoding="utf-8"))
    return {
        "work.py": WORK,
        "efficientnet_lite.py": _DEMO / "imagenet" / "efficientnet_lite.py",
        "pictures.py": _DEMO / "imagenet" / "pictures.py",
        "weights.pth": weights,
        "index_to_name.json": json.dumps(dict(enumerate(names))).encode(),
    }


def picture() -> bytes:
    """The picture that the classifier is asked about: PNG.

    Raises:
        ConfigError: the packages of the extra ``demo`` are not installed.
    """
    (path,) = locate(CAT_PICTURE)
    return path.read_bytes()
