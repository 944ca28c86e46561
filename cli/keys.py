"""The keys of a running server, as it left them in its working folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

KEY_FILE_NAME: Final = "key_file.json"
KEY_NAMES: Final = ("inference", "management", "API")


def read_keys(working_dir: Path) -> dict[str, str]:
    """Keys by name.

    Args:
        working_dir: the current folder of the server process.

    Returns:
        Empty when there is no readable key file: the server runs without tokens, or belongs to
        somebody else.
    """
    try:
        content = json.loads((working_dir / KEY_FILE_NAME).read_text(encoding="utf-8"))
        return {name: content[name]["key"] for name in KEY_NAMES if name in content}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
