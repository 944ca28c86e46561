"""Whatever a manifest or a damaged archive holds, the store serves it or refuses it, and cleans up.

Every example has a fresh area with a store, a working folder and a file beside them.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_archives import HANDLER, tarred, zipped

from tsl.model_store.request import RegistrationRequest
from tsl.model_store.store import ModelStore
from tsl.protocol.errors import InvalidArchive, InvalidParameter, Unsupported

KEYS = [
    "modelName",
    "modelVersion",
    "handler",
    "serializedFile",
    "modelFile",
    "configFile",
    "requirementsFile",
    "extensions",
    "sourceVocab",
]
texts = st.one_of(
    st.sampled_from(
        ["m", "1.0", "h.py", "h:fn", "c.yaml", "../c.yaml", "/etc/passwd", "", ".", "a/b", "\0"]
    ),
    st.text(max_size=8),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
GOOD = {"modelName": "m", "modelVersion": "1.0", "handler": "h.py"}
models = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), texts | values, max_size=len(KEYS)),
    st.dictionaries(st.sampled_from(KEYS), texts, max_size=2).map(lambda some: {**GOOD, **some}),
)
manifests = st.one_of(
    st.fixed_dictionaries({}, optional={"runtime": texts | values, "model": models}),
    st.dictionaries(texts, values, max_size=3),
    values,
)
settings_files = st.one_of(
    st.sampled_from(
        [b"", b"batchSize: 2\n", b"minWorkers: -1\n", b"a: &a [*a]\n", b"!!python/object:os.x {}\n"]
    ),
    st.binary(max_size=40),
    values.map(lambda value: json.dumps(value).encode()),
)


def register(name, data):
    """Ask a store for one archive; nothing but the store's own folders may change."""
    with tempfile.TemporaryDirectory() as folder:
        area = Path(folder)
        (area / "store").mkdir()
        (area / "beside").write_text("untouched")
        (area / "store" / name).write_bytes(data)
        store = ModelStore(area / "store", area / "work")

        version = None
        with contextlib.suppress(InvalidArchive, InvalidParameter, Unsupported):
            version = store.resolve(RegistrationRequest(url=name))

        unpacked = list((area / "work" / "models").iterdir())
        assert sorted(path.name for path in area.iterdir()) == ["beside", "store", "work"]
        assert (area / "beside").read_text() == "untouched"
        assert [path.name for path in (area / "store").iterdir()] == [name]
        if version is None:
            assert unpacked == []
        else:
            assert unpacked == [version.model_dir]
            store.remove(version)
            assert list((area / "work" / "models").iterdir()) == []


@settings(max_examples=150, deadline=None)
@given(manifests, settings_files)
def test_any_manifest_and_any_settings(manifest, config):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("h.py", HANDLER)
        archive.writestr("c.yaml", config)
    logging.disable(logging.WARNING)
    try:
        register("x.mar", file.getvalue())
    finally:
        logging.disable(logging.NOTSET)


WHOLE = (
    ("x.mar", zipped([("a/b.txt", b"text " * 20)], zipfile.ZIP_DEFLATED)),
    ("x.tar.gz", tarred()),
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(
        st.tuples(
            st.floats(0, 1), st.sampled_from(["flip", "cut", "insert"]), st.binary(max_size=6)
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_any_damage_to_a_good_archive(whole, damages):
    name, data = whole
    for where, kind, extra in damages:
        at = int(where * len(data))
        if kind == "flip":
            data = data[:at] + extra + data[at + len(extra) :]
        elif kind == "insert":
            data = data[:at] + extra + data[at:]
        else:
            data = data[:at]
    register(name, data)
