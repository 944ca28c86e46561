"""Damaged archives, manifests and configuration files end in `InvalidArchive` and nothing else.

Valid examples are damaged at random, for a bounded time. A failure prints the number that made
the example: `random.Random(number)` makes it again.
"""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import time
import zipfile

import pytest
from fuzzing import first_number

from tsl.model_store import ArchiveCache, ExtractionLimits, Manifest, load_model_yaml
from tsl.protocol.errors import InvalidArchive

pytestmark = pytest.mark.fuzz

SECONDS = 1.0
LIMITS = ExtractionLimits(
    max_total_bytes=1_000_000, max_entries=100, max_ratio=20, ratio_floor_bytes=100_000
)

MANIFEST = b'{"runtime": "python", "model": {"modelName": "m", "modelVersion": 1.0}}'
YAML = b"batchSize: 8\nhandler: &h {a: [1, 0.5, yes], b: 2024-01-31}\nother: {<<: *h, c: 'x'}\n"
FILES = {"MAR-INF/MANIFEST.json": MANIFEST, "h.py": b"x = 1\n" * 50, "a/b/data": bytes(range(256))}


def zip_seed(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_seed(tar_format):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for name, content in {**FILES, "long" * 40: b"x"}.items():
            info = tarfile.TarInfo("m/" + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def damage(data, rng):
    """Change, cut, repeat or insert a few bytes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 1, 2, 4, 16, 512))
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length]
        elif kind == 3:
            data[at:at] = rng.randbytes(length)
        else:
            data[at : at + length] = rng.choice((b"\0", b"\xff", b"9")) * length
    return bytes(data)


def damaged(seeds, wrap=lambda data: data):
    """Damaged examples with the number that makes each, for a bounded time."""
    end = time.monotonic() + SECONDS
    number = first_number()
    while time.monotonic() < end:
        rng = random.Random(number)
        yield number, wrap(damage(rng.choice(seeds), rng))
        number += 1


ZIP_SEEDS = [zip_seed(zipfile.ZIP_STORED), zip_seed(zipfile.ZIP_DEFLATED)]
TAR_SEEDS = [tar_seed(tarfile.GNU_FORMAT), tar_seed(tarfile.PAX_FORMAT)]


@pytest.mark.parametrize(
    ("file_name", "seeds", "wrap"),
    [
        pytest.param("x.mar", ZIP_SEEDS, bytes, id="zip"),
        pytest.param("x.tar.gz", TAR_SEEDS, lambda data: gzip.compress(data, 1), id="tar"),
        pytest.param("x.tar.gz", [gzip.compress(seed) for seed in TAR_SEEDS], bytes, id="gzip"),
    ],
)
def test_a_damaged_archive_is_refused_or_unpacked(tmp_path, file_name, seeds, wrap):
    cache = ArchiveCache(tmp_path / "cache", LIMITS)
    archive = tmp_path / file_name
    count = 0
    for number, data in damaged(seeds, wrap):
        count += 1
        archive.write_bytes(data)
        try:
            cache.release(cache.open(archive))
        except InvalidArchive:
            pass
        except Exception as error:
            pytest.fail(f"seed {number}: {error!r}")
        assert list((tmp_path / "cache").iterdir()) == [], f"seed {number} left something"
    assert count > 10


@pytest.mark.parametrize(
    ("parse", "seed"),
    [
        pytest.param(Manifest.parse, MANIFEST, id="manifest"),
        pytest.param(load_model_yaml, YAML, id="yaml"),
    ],
)
def test_a_damaged_text_is_refused_or_read(parse, seed):
    count = 0
    for number, data in damaged([seed]):
        count += 1
        try:
            parse(data)
        except InvalidArchive:
            pass
        except Exception as error:
            pytest.fail(f"seed {number}: {error!r} for {data!r}")
    assert count > 10
