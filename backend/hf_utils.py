"""Fetch models from the Hugging Face hub."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

TOKEN_VARIABLES = ("HUGGINGFACE_TOKEN", "HF_TOKEN")


def download_model(
    model_id: str = "meta-llama/Meta-Llama-3.1-8B-Instruct",
    revision: str = "main",
    model_path: str = ".cache",
    use_auth_token: bool = True,
) -> Path:
    """Download a model, unless it is there already.

    Args:
        model_id: its name on the hub.
        revision: branch, tag or commit.
        model_path: folder for the files, created if it is missing.
        use_auth_token: log in with the token of ``HUGGINGFACE_TOKEN`` or ``HF_TOKEN``, or, without
            these, with the stored one.

    Returns:
        The folder of the model's snapshot.

    Raises:
        ImportError: the package huggingface_hub is not installed.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        msg = "download_model needs the package huggingface_hub: pip install huggingface_hub"
        raise ImportError(msg) from error
    given = next((os.environ[name] for name in TOKEN_VARIABLES if os.environ.get(name)), True)
    folder = Path(model_path)
    folder.mkdir(parents=True, exist_ok=True)
    snapshot = hub.snapshot_download(
        model_id,
        revision=revision,
        cache_dir=str(folder),
        token=given if use_auth_token else False,
        ignore_patterns=["original/*"],  # a second copy in another format
    )
    return Path(snapshot)
