"""Load weights and other torch files without running code that is hidden in them.

A pickle can run any code when it is read. Tensors and plain containers load without that; an
archive that needs more must be trusted explicitly by whoever runs the server.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import IO, Any, Final

import torch

from tsl.protocol.errors import LoadFailed

ALLOW_PICKLE_VARIABLE: Final = "TSL_ALLOW_PICKLE"


def is_pickle_allowed(model_yaml_config: Any) -> bool:
    """Whether the model's configuration or the environment allows full pickles.

    Args:
        model_yaml_config: parsed ``model-config.yaml``, or None.
    """
    if os.environ.get(ALLOW_PICKLE_VARIABLE, "").lower() in {"1", "true"}:
        return True
    section = model_yaml_config.get("handler") if isinstance(model_yaml_config, dict) else None
    return isinstance(section, dict) and section.get("allow_pickle") is True


def load_file(
    file: str | Path | IO[bytes], device: Any = None, *, allow_pickle: bool = False
) -> Any:
    """Read what ``torch.save`` wrote, or a safetensors file.

    Args:
        file: path, or an open binary file.
        device: where tensors go: ``torch.device`` or its name; None leaves them where they were.
        allow_pickle: run the pickled code if the file needs it.

    Raises:
        LoadFailed: the file needs a full pickle, and that is not allowed.
    """
    if isinstance(file, str | Path) and str(file).endswith(".safetensors"):
        return _load_safetensors(str(file), device)
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        if not allow_pickle:
            name = Path(file).name if isinstance(file, str | Path) else "the file"
            msg = f"{name} is not just tensors: loading it would run code that it contains."
            hint = (
                "If you trust its origin, put 'handler: {allow_pickle: true}' into the model's "
                f"model-config.yaml or start the server with {ALLOW_PICKLE_VARIABLE}=1; or save "
                "a state_dict instead of the whole object."
            )
            raise LoadFailed(msg, hint=hint) from error
    if not isinstance(file, str | Path):
        file.seek(0)
    return torch.load(file, map_location=device, weights_only=False)  # was allowed


def _load_safetensors(path: str, device: Any) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file as load_safetensors
    except ImportError as error:
        msg = f"{Path(path).name} is a safetensors file, and the package safetensors is missing."
        raise LoadFailed(msg, hint="Install it with: pip install safetensors") from error
    tensors: dict[str, torch.Tensor] = load_safetensors(path, device=str(device or "cpu"))
    return tensors
