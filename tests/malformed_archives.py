"""Archives that no server should take: one table for the tests of the store and of a whole server."""

import gzip
import io
import json
import stat
import struct
import tarfile
import warnings
import zipfile

HANDLER = b"def handle(data, context):\n    return data\n"


def manifest(**members):
    """A manifest; members of its "model" may be replaced, or left out by None."""
    model = {"modelName": "bad", "modelVersion": "1.0", "handler": "h.py", **members}
    model = {key: value for key, value in model.items() if value is not None}
    return json.dumps({"runtime": "python", "model": model}).encode()


def zipped(extra=(), method=zipfile.ZIP_STORED, text=None, **members):
    """A zip file: a model, and further (name or ZipInfo, content) pairs behind it."""
    first = manifest(**members) if text is None else text
    pairs = [("MAR-INF/MANIFEST.json", first), ("h.py", HANDLER), *extra]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that are there twice are meant
        for name, content in pairs:
            # An entry of its own has no time: the same archive has the same bytes.
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(info, content, method)
    return file.getvalue()


def entry(name, mode=stat.S_IFREG | 0o644):
    """An entry whose name and kind are written as they are."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # the constructor would cut at a NUL
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def tarred(*entries, compress=True):
    """A tar.gz file: a model, and TarInfo objects behind it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in (("MAR-INF/MANIFEST.json", manifest()), ("h.py", HANDLER)):
            info = tarfile.TarInfo(f"bad/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in entries:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return gzip.compress(file.getvalue(), mtime=0) if compress else file.getvalue()


def tar_entry(name, kind=tarfile.REGTYPE, link="", size=0):
    """An entry of a tar file."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = size
    return info


def with_bytes(data, old, new):
    """Replace bytes that are there."""
    assert old in data
    return data.replace(old, new)


def declared(size):
    """A zip file whose directory says that its last entry has this size."""
    data = bytearray(zipped([("big.bin", b"x" * 10)]))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, size)
    return bytes(data)


def encrypted():
    """A zip file whose last entry says that it is encrypted."""
    data = bytearray(zipped([("secret.bin", b"x")]))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<H", data, at + 8, 0x1)
    return bytes(data)


def bad_header():
    """A tar file whose last header does not match its checksum."""
    data = bytearray(tarred(tar_entry("bad/last", size=3), compress=False))
    at = data.index(b"bad/last")
    data[at : at + 8] = b"bad/LAST"
    return gzip.compress(bytes(data), mtime=0)


def bad_checksum():
    """A gzip file whose last bytes do not match its content."""
    data = bytearray(tarred())
    data[-8] ^= 0xFF
    return bytes(data)


MAR, TGZ = "bad.mar", "bad.tar.gz"

MALFORMED = {
    # Not an archive at all.
    "an empty file": (MAR, b"", "neither a zip nor"),
    "a text": (TGZ, b"hello", "neither a zip nor"),
    "a text named .mar": (MAR, b"this is no archive", "damaged"),
    "another format": (TGZ, b"7z\xbc\xaf\x27\x1c" + bytes(50), "neither a zip nor"),
    # Damaged.
    "a zip without its end": (MAR, zipped()[:-30], "damaged"),
    "half of a zip": (MAR, zipped()[:200], "damaged"),
    "a zip with a wrong checksum": (
        MAR,
        with_bytes(zipped(), b"return data", b"return dat4"),
        "damaged",
    ),
    "a zip with a lost entry": (MAR, with_bytes(zipped(), b"PK\x03\x04", b"PK\x00\x00"), "damaged"),
    "half of a tar": (TGZ, tarred()[:-40], "damaged"),
    "a tar with a wrong checksum": (TGZ, bad_checksum(), "damaged"),
    "a tar with a broken header": (TGZ, bad_header(), "damaged"),
    "a tar that is not compressed": (TGZ, tarred(compress=False), "neither a zip nor"),
    "gzip without a tar": (TGZ, gzip.compress(b"no tar " * 200, mtime=0), "damaged"),
    # Names that lead elsewhere.
    "a zip that climbs": (MAR, zipped([(entry("../evil.py"), b"")]), "outside of the model"),
    "a zip that climbs late": (
        MAR,
        zipped([(entry("a/../../evil.py"), b"")]),
        "outside of the model",
    ),
    "a zip with an absolute path": (
        MAR,
        zipped([(entry("/tmp/evil.py"), b"")]),
        "name that is not",
    ),
    "a zip with backslashes": (MAR, zipped([(entry("..\\evil.py"), b"")]), "name that is not"),
    "a zip with a drive": (MAR, zipped([(entry("C:evil.py"), b"")]), "name that is not"),
    "a zip with a NUL": (MAR, zipped([(entry("a\0.py"), b"")]), "name that is not"),
    "a tar that climbs": (TGZ, tarred(tar_entry("bad/../../evil.py")), "outside of the model"),
    "a tar with an absolute path": (TGZ, tarred(tar_entry("/etc/evil.py")), "name that is not"),
    "a name that is too long": (MAR, zipped([(entry("x" * 300), b"")]), "cannot store"),
    # What is no file.
    "a zip with a link": (
        MAR,
        zipped([(entry("l", stat.S_IFLNK | 0o777), b"/etc/passwd")]),
        "link",
    ),
    "a zip with a pipe": (
        MAR,
        zipped([(entry("p", stat.S_IFIFO | 0o644), b"")]),
        "neither file nor",
    ),
    "a tar with a link": (TGZ, tarred(tar_entry("bad/l", tarfile.SYMTYPE, "/etc/passwd")), "link"),
    "a tar with a hard link": (
        TGZ,
        tarred(tar_entry("bad/l", tarfile.LNKTYPE, "bad/h.py")),
        "link",
    ),
    "a tar with a device": (TGZ, tarred(tar_entry("bad/d", tarfile.CHRTYPE)), "no plain file"),
    # Too much, or in a way that nobody reads.
    "a zip bomb": (MAR, declared(0xFFFFFFF0), "times its size"),
    "a zip that lies about a size": (MAR, declared(11), "damaged"),
    "an encrypted zip": (MAR, encrypted(), "encrypted"),
    "another compression": (MAR, zipped([], zipfile.ZIP_BZIP2), "deflate"),
    "a tar with a huge header": (
        TGZ,
        tarred(tar_entry("bad/x", tarfile.XHDTYPE, size=6_000_000)),
        "impossible size",
    ),
    "a file that is a folder": (MAR, zipped([("h.py/inner.py", b"")]), "same name"),
    "a folder that is a file": (
        MAR,
        zipped([("a/b.py", b""), (entry("a"), b"")]),
        "name of a folder",
    ),
    "an empty zip": (MAR, b"PK\x05\x06" + bytes(18), "no file"),
    "a tar of folders": (TGZ, gzip.compress(bytes(10240), mtime=0), "no file"),
    # Manifests.
    "a manifest that is no JSON": (MAR, zipped(text=b"{model:"), "JSON"),
    "a manifest that is a list": (MAR, zipped(text=b"[]"), "must hold a JSON object"),
    "a manifest in another encoding": (MAR, zipped(text=b'{"model": "\xff"}'), "not valid JSON"),
    "a model that is a text": (MAR, zipped(text=b'{"model": "bad"}'), "model"),
    "a manifest that is nested deeply": (MAR, zipped(text=b"[" * 100_000), "not valid JSON"),
    "a manifest of megabytes": (MAR, zipped(text=b" " * 2_000_000 + b"{}"), "is larger than"),
    "a handler that is a list": (MAR, zipped(handler=["h.py"]), "handler"),
    "no handler": (MAR, zipped(handler=None), "no handler"),
    "a name with a slash": (MAR, zipped(modelName="a/b"), "modelName"),
    "a version with a slash": (MAR, zipped(modelVersion="1/0"), "modelVersion"),
    "weights outside": (MAR, zipped(serializedFile="../w.pt"), "serializedFile"),
    "settings outside": (MAR, zipped(configFile="/etc/passwd"), "configFile"),
    "settings that are no YAML": (
        MAR,
        zipped([("c.yaml", b"a: [1\nb: }")], configFile="c.yaml"),
        "YAML",
    ),
    "settings that are a folder": (MAR, zipped([("c/d", b"")], configFile="c"), "cannot be read"),
}
"""By what is wrong: file name, content, and words of the error."""


UNLOADABLE = {
    "a handler that is missing": zipped(handler="gone.py"),
    "a handler with a syntax error": zipped([("b.py", b"def handle(:\n")], handler="b.py"),
    "a handler without handle": zipped([("b.py", b"x = 1\n")], handler="b.py"),
    "a handler with two classes": zipped(
        [("b.py", b"class A: pass\nclass B: pass\n")], handler="b.py"
    ),
    "a handler that lacks a package": zipped([("b.py", b"import gone_for_good\n")], handler="b.py"),
    "a handler that exits": zipped([("b.py", b"import sys\nsys.exit(5)\n")], handler="b.py"),
    "a handler that kills its process": zipped(
        [("b.py", b"import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")], handler="b.py"
    ),
    "a handler of bytes": zipped([("b.py", b"\x00\xff" * 20)], handler="b.py"),
}
"""Archives that are well formed, with a handler that cannot be loaded."""
