"""Whatever an archive's entries are called, nothing is written outside of its own folder.

Every example has a fresh area with a cache for unpacked archives in it and a file beside it. An
archive is either unpacked completely, as plain files and folders below the cache, or refused
with `InvalidArchive`, and then the cache is empty again.
"""

from __future__ import annotations

import contextlib
import io
import stat
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tsl.model_store import ArchiveCache, ExtractionLimits
from tsl.protocol.errors import InvalidArchive

LIMITS = ExtractionLimits(
    max_total_bytes=100_000, max_entries=30, max_ratio=20, ratio_floor_bytes=20_000
)

components = st.one_of(
    st.sampled_from(
        ["a", "b", "m", ".", "..", "", "~", "C:", "con", "...", " ", "-rf", "MAR-INF", "x" * 300]
    ),
    st.text(
        st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=4
    ),
    st.sampled_from(["a\\b", "..\\..", "a\0b", "\0", "\n", "%2e%2e", "\u2025", "$HOME"]),
)
names = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "", "", "m/", "/", "//", "./", "../", "/tmp/"]),
    st.lists(components, min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/", "/.", "/.."]),
)
contents = st.one_of(st.binary(max_size=50), st.sampled_from([b"\0" * 1000, b"\0" * 40_000]))
modes = st.one_of(
    st.sampled_from([0, stat.S_IFREG | 0o644, stat.S_IFREG | 0o6777, stat.S_IFDIR | 0o1777]),
    st.sampled_from([stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK]),
)
tar_types = st.sampled_from(
    [tarfile.REGTYPE] * 6
    + [tarfile.DIRTYPE] * 3
    + [
        tarfile.AREGTYPE,
        tarfile.CONTTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        b"?",
    ]
)


def zip_of(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names are meant
        for name, content, mode, method in entries:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name  # the constructor would cut at a NUL
            info.create_system = 3
            info.external_attr = mode << 16
            info.compress_type = method
            with archive.open(info, "w") as entry:
                entry.write(content)
    return file.getvalue()


def tar_of(entries, tar_format):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tar_format) as archive:
        for name, content, kind, target, mode in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = target
            info.mode = mode & 0o7777
            info.size = len(content) if kind in tarfile.REGULAR_TYPES else 0
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def check(file_name, data):
    with tempfile.TemporaryDirectory() as name:
        area = Path(name)
        archive = area / file_name
        archive.write_bytes(data)
        (area / "beside").write_text("untouched")
        cache = ArchiveCache(area / "cache", LIMITS)

        folder = None
        with contextlib.suppress(InvalidArchive):
            folder = cache.open(archive)

        assert sorted(path.name for path in area.iterdir()) == sorted(
            ["beside", "cache", file_name]
        )
        assert (area / "beside").read_text() == "untouched"
        in_cache = list((area / "cache").iterdir())
        if folder is None:
            assert in_cache == []
            return
        assert in_cache == [folder.path]
        total = 0
        for path in folder.path.rglob("*"):
            status = path.lstat()
            assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
            assert stat.S_IMODE(status.st_mode) in (0o644, 0o755)
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        assert total <= LIMITS.max_total_bytes
        cache.release(folder)
        assert list((area / "cache").iterdir()) == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            names, contents, modes, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        ),
        max_size=5,
    )
)
def test_a_zip_file_stays_in_its_folder(entries):
    check("x.mar", zip_of(entries))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(names, contents, tar_types, names, modes), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_a_tar_file_stays_in_its_folder(entries, tar_format):
    check("x.tar.gz", tar_of(entries, tar_format))


plain_names = st.lists(
    st.sampled_from(["a", "b", "c.py", "d e", "größe", "..x"]), min_size=1, max_size=3
).map("/".join)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(plain_names, st.binary(max_size=50), min_size=1, max_size=5))
def test_plain_files_come_out_as_they_went_in(files):
    """Otherwise refusing everything would be safe enough."""
    prefixes = {name[:end] for name in files for end, char in enumerate(name) if char == "/"}
    if prefixes & files.keys():
        return
    zip_data = zip_of((name, data, 0, zipfile.ZIP_DEFLATED) for name, data in files.items())
    tar_data = tar_of(
        (("m/" + name, data, tarfile.REGTYPE, "", 0o644) for name, data in files.items()),
        tarfile.PAX_FORMAT,
    )
    with tempfile.TemporaryDirectory() as area:
        cache = ArchiveCache(Path(area, "cache"), LIMITS)
        for file_name, data in (("x.mar", zip_data), ("x.tar.gz", tar_data)):
            archive = Path(area, file_name)
            archive.write_bytes(data)

            folder = cache.open(archive)

            found = {
                path.relative_to(folder.path).as_posix(): path.read_bytes()
                for path in folder.path.rglob("*")
                if path.is_file()
            }
            assert found == files
            cache.release(folder)
