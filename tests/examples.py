"""Pack example handlers, ask a server about them, and compare what comes back.

`example_table` says what examples there are. Used by tests/e2e/test_examples.py, which asks tsl,
and by scripts/record_examples.py, which asks TorchServe. So nothing here imports tsl.
"""

from __future__ import annotations

import base64
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

FOLDER = Path(__file__).parent / "data" / "examples"
EXPECTED = FOLDER / "expected.json"
VERSION = "1.0"
TIMEOUT_S = 30

Content = bytes | Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that an example is asked.

    Attributes:
        name: key of its answer in expected.json.
        path: where, behind the address of the API.
        body: of the request; several are sent at the same time, so that they can share a batch.
        headers: of the request.
        files: fields of a multipart form, as `requests` takes them.
        api: ``inference`` or ``management``.
        read: how the answer is read: a key of `READERS`.
        better: the status of tsl, where that of TorchServe is a known defect.
    """

    name: str = "predict"
    path: str = ""
    body: bytes | tuple[bytes, ...] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Any = None
    api: str = "inference"
    read: str = "json"
    better: int = 0


@dataclass(frozen=True, kw_only=True)
class Example:
    """One archive.

    Attributes:
        name: of the model.
        handler: built-in name, or file in `FOLDER`; ``:function`` may follow.
        model_file: file in ``models/``.
        weights: name and content of the serialized file.
        config: content of model-config.yaml.
        extra: content of further files by name.
        standins: packages of ``standins/`` that are packed, too.
        steps: what it is asked, in this order.
        envelope: the server's ``service_envelope``; examples with one have a server of their own.
        manifest: further members of the manifest's ``model``.
    """

    name: str
    handler: str
    model_file: str = ""
    weights: tuple[str, Content] | None = None
    config: Mapping[str, Any] | None = None
    extra: Mapping[str, Content] = field(default_factory=dict)
    standins: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    envelope: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name in expected.json."""
        return f"{self.envelope}/{self.name}" if self.envelope else self.name


def text64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


def as_json(value: Any) -> bytes:
    """A JSON body."""
    return json.dumps(value).encode()


# Packing.


def write_sources(example: Example, folder: Path) -> dict[str, Any]:
    """Write the files of an example.

    Returns:
        The options of ``torch-model-archiver`` that pack them, without the export path.
    """
    folder.mkdir(parents=True)
    options: dict[str, Any] = {"model_name": example.name, "version": VERSION}
    file, colon, function = example.handler.partition(":")
    if "/" in file:
        options["handler"] = str(FOLDER / file) + colon + function
    else:
        options["handler"] = example.handler
    if example.model_file:
        options["model_file"] = str(FOLDER / "models" / f"{example.model_file}.py")
    if example.weights:
        name, content = example.weights
        options["serialized_file"] = str(_write(folder / name, content))
    if example.config is not None:
        options["config_file"] = str(
            _write(folder / "model-config.yaml", as_json(example.config))  # JSON is YAML
        )
    extra = [str(_write(folder / name, content)) for name, content in example.extra.items()]
    packages = folder / "packages"
    for name in example.standins:
        source = FOLDER / "standins" / name
        for path in [source] if source.is_file() else sorted(source.glob("*.py")):
            target = packages / path.relative_to(FOLDER / "standins")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    if packages.exists():
        extra.append(str(packages))
    if extra:
        options["extra_files"] = ",".join(extra)
    return options


def amend_manifest(archive: Path, members: Mapping[str, Any]) -> None:
    """Put members into the manifest of an archive, which archivers have no option for."""
    with zipfile.ZipFile(archive) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    name = "MAR-INF/MANIFEST.json"
    document = json.loads(entries[name])
    document["model"].update(members)
    entries[name] = as_json(document)
    with zipfile.ZipFile(archive, "w") as file:
        for each, content in entries.items():
            file.writestr(each, content)


def _write(path: Path, content: Content) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content())
    return path


# Asking.


def play(example: Example, addresses: Mapping[str, str]) -> dict[str, Any]:
    """Ask a server everything about an example.

    Args:
        example: one that it serves.
        addresses: URL of each API.

    Returns:
        What came back, by the name of the step; it is JSON.
    """
    return {step.name: _ask(example, step, addresses[step.api]) for step in example.steps}


def _ask(example: Example, step: Step, address: str) -> Any:
    url = address + (step.path or f"/predictions/{example.name}")
    method = "GET" if step.api == "management" else "POST"
    if isinstance(step.body, bytes):
        return _send(method, url, step, step.body)
    with ThreadPoolExecutor(len(step.body)) as pool:
        return list(pool.map(lambda body: _send(method, url, step, body), step.body))


def _send(method: str, url: str, step: Step, body: bytes) -> Any:
    with requests.request(
        method,
        url,
        data=None if step.files else body,
        headers=dict(step.headers),
        files=step.files,
        stream=True,
        timeout=TIMEOUT_S,
    ) as answer:
        found = {"status": answer.status_code, **READERS[step.read](answer)}
        if step.read not in ("status", "metadata"):
            found["type"] = answer.headers.get("content-type")
        return found


def _digest(answer: requests.Response) -> dict[str, Any]:
    """The shape of nested lists, and sums of their numbers."""
    value = answer.json()
    shape, level = [], value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0]
    rows: list[Any] = value
    while isinstance(rows[0][0], list):
        rows = [inner for row in rows for inner in row]
    return {"shape": shape, "sums": [math.fsum(column) for column in zip(*rows, strict=True)]}


READERS: dict[str, Callable[[requests.Response], dict[str, Any]]] = {
    "json": lambda answer: {"json": answer.json()},
    "digest": _digest,
    "text": lambda answer: {"text": answer.text},
    "bytes": lambda answer: {"bytes": text64(answer.content)},
    "status": lambda answer: {},
    "headers": lambda answer: {
        "text": answer.text,
        "headers": {
            name.lower(): value
            for name, value in answer.headers.items()
            if name.lower().startswith("x-") and name.lower() != "x-request-id"
        },
    },
    "chunks": lambda answer: {
        "chunks": [piece.decode() for piece in answer.raw.read_chunked()],
        "next": answer.headers.get("ts_stream_next"),
    },
    "metadata": lambda answer: {"json": answer.json()[0].get("customizedMetadata")},
}


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """What two results do not have in common; numbers may differ in their last digits."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if list(expected) != list(found) and set(expected) != set(found):
            return [f"{where}: {sorted(expected)} expected, {sorted(found)} found"]
        pairs = [(f"{where}.{key}", expected[key], found[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{where}: {len(expected)} items expected, {len(found)} found"]
        pairs = [
            (f"{where}[{at}]", *both) for at, both in enumerate(zip(expected, found, strict=True))
        ]
    elif _is_number(expected) and _is_number(found):
        close = math.isclose(expected, found, rel_tol=1e-4, abs_tol=1e-6)
        return [] if close else [f"{where}: {expected} expected, {found} found"]
    else:
        return [] if expected == found else [f"{where}: {expected!r} expected, {found!r} found"]
    return [each for pair in pairs for each in differences(pair[1], pair[2], pair[0])]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
