"""Write the demo's archives, and only when they change.

Contents are stored, not compressed: weights do not shrink, and a start must be quick.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tsl.model_store.packing import DEFAULT_CREATED_ON, manifest_text, replaced_file
from tsl.model_store.packing_writers import write_zip

_MANIFEST: Final = "MAR-INF/MANIFEST.json"


def pack_model(
    archive: Path, model: Mapping[str, Any], members: Mapping[str, bytes | Path]
) -> bool:
    """Write an archive, unless the same one is there already.

    Args:
        archive: where to write; replaced in one step, so that no reader sees half of it.
        model: section ``model`` of the manifest.
        members: contents, or the file that has them, by name inside of the archive.

    Returns:
        Whether it had to be written.
    """
    everything = {_MANIFEST: manifest_text(model), **dict(sorted(members.items()))}
    content = io.BytesIO()  # some 15 MB
    write_zip(content, everything, DEFAULT_CREATED_ON, is_compressed=False)
    if archive.is_file() and archive.read_bytes() == content.getbuffer():
        return False
    with replaced_file(archive) as file:
        file.write(content.getbuffer())
    return True
