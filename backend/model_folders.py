"""Put together a model's folder, for tests of handlers that run without a server."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import urlopen

MODEL_FILE: Final = "model.pt"
CACHE_VARIABLE: Final = "XDG_CACHE_HOME"
TIMEOUT_S: Final = 60


def download_model(model_url: str, model_dir: str | os.PathLike[str]) -> None:
    """Download weights to ``model.pt`` in a folder; a second time they come from the cache.

    Args:
        model_url: ``https://...``.
        model_dir: the folder.

    Raises:
        OSError: they cannot be fetched or written.
        ValueError: it is no such address.
    """
    parts = urlsplit(model_url)
    if parts.scheme not in ("http", "https"):
        msg = f"model_url must begin with https:// or http://, not {model_url!r}"
        raise ValueError(msg)
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache", "tsl", "models")
    cache.mkdir(parents=True, exist_ok=True)
    # Different addresses often end in the same file name.
    known_as = hashlib.sha256(model_url.encode()).hexdigest()[:16]
    kept = cache / f"{known_as}-{Path(parts.path).name or MODEL_FILE}"
    if not kept.exists():
        with (
            urlopen(model_url, timeout=TIMEOUT_S) as source,  # noqa: S310  # checked above
            tempfile.NamedTemporaryFile(dir=cache, delete=False) as target,
        ):
            shutil.copyfileobj(source, target)
        Path(target.name).replace(kept)
    shutil.copy(kept, Path(model_dir, MODEL_FILE))


def copy_files(
    src_dir: str | os.PathLike[str], dst_dir: str | os.PathLike[str], files: Mapping[str, str]
) -> None:
    """Copy files from one folder to another.

    Args:
        src_dir: where they are.
        dst_dir: where they go.
        files: name in the first folder → name in the second.
    """
    for source, target in files.items():
        shutil.copyfile(Path(src_dir, source), Path(dst_dir, target))
