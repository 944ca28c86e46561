"""Build what ``tsl start --demo`` serves: a model store with two archives, and a picture.

The handlers and models of the archives are in the folders ``imagenet`` and ``g2p`` beside this
file. They are data here: they run inside of workers, and nothing in this package imports them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .packing import pack_model
from .sources import CAT_PICTURE, G2P_CHECKPOINT, LITE0_WEIGHTS, locate

_HERE: Final = Path(__file__).parent
_CONFIG_FILE: Final = "model-config.yaml"
_IMAGENET: Final = {
    "modelName": "imagenet",
    "modelVersion": "1.0",
    "description": "EfficientNet-Lite0: the five most probable of 1000 classes, and why",
    "handler": "imagenet_handler.py",
    "modelFile": "efficientnet_lite.py",
    "configFile": _CONFIG_FILE,
}
_G2P: Final = {
    "modelName": "g2p",
    "modelVersion": "1.0",
    "description": "English words to phonemes, streamed one by one",
    "handler": "g2p_handler.py",
    "modelFile": "g2p_model.py",
    "configFile": _CONFIG_FILE,
}


@dataclass(frozen=True, slots=True)
class DemoStore:
    """A model store that is ready to be served.

    Attributes:
        model_store: folder with the archives; for ``--model-store``.
        models: names and archives, separated by commas; for ``--models``.
        image: the picture of a cat that the first commands send.
        curl_lines: commands to try; ``{inference}`` stands for the inference address, such as
            ``http://127.0.0.1:8080``.
    """

    model_store: Path
    models: str
    image: Path
    curl_lines: tuple[str, ...]


def build_demo(target: Path, progress: Callable[[str], None]) -> DemoStore:
    """Build the demo, or take what an earlier start has built.

    Args:
        target: folder of the demo, such as one in the user's cache; made if it is missing.
        progress: gets a line for each thing that is being done.

    Returns:
        What to serve, and what to try.

    Raises:
        ConfigError: a package that carries weights or the picture is not installed.
        OSError: the folder cannot be written.
    """
    weights, checkpoint, cat = locate(LITE0_WEIGHTS, G2P_CHECKPOINT, CAT_PICTURE)
    model_store = target / "model_store"
    model_store.mkdir(parents=True, exist_ok=True)
    archives = [
        _pack(model_store, _IMAGENET, weights, {"index_to_name.json": _index_to_name()}, progress),
        _pack(model_store, _G2P, checkpoint, {}, progress),
    ]
    image = target / "cat.png"
    picture = cat.read_bytes()
    if not image.is_file() or image.read_bytes() != picture:
        image.write_bytes(picture)
    return DemoStore(
        model_store=model_store,
        models=",".join(f"{archive.stem}={archive.name}" for archive in archives),
        image=image,
        curl_lines=_curl_lines(image),
    )


def _pack(
    model_store: Path,
    model: dict[str, Any],
    weights: Path,
    extra: dict[str, bytes],
    progress: Callable[[str], None],
) -> Path:
    name = model["modelName"]
    archive = model_store / f"{name}.mar"
    sources = sorted(path for path in (_HERE / name).iterdir() if path.suffix in {".py", ".yaml"})
    members: dict[str, bytes | Path] = {path.name: path for path in sources}
    is_new = pack_model(
        archive,
        {**model, "serializedFile": weights.name},
        {**members, **extra, weights.name: weights},
    )
    verb = "Built" if is_new else "Found"
    progress(
        f"{verb} demo model {name} ({archive.stat().st_size / 1e6:.1f} MB) from {weights.name}"
    )
    return archive


def _index_to_name() -> bytes:
    """The class names in the form of the built-in handlers: names by class number as text."""
    names = json.loads((_HERE / "imagenet_classes.json").read_text(encoding="utf-8"))
    return json.dumps({str(number): name for number, name in enumerate(names)}).encode()


def _curl_lines(image: Path) -> tuple[str, ...]:
    # The lines are templates: a brace in the path must survive str.format.
    cat = shlex.quote(str(image)).replace("{", "{{").replace("}", "}}")
    predict, explain = "{inference}/predictions", "{inference}/explanations"
    return (
        f"curl {predict}/imagenet -T {cat}",
        f"curl {explain}/imagenet -T {cat}",
        f"curl {explain}/imagenet -T {cat} -H 'Accept: image/png' -o why.png",
        f"curl -N {predict}/g2p -d text='a model server that streams' -d delay=0.1",
    )
