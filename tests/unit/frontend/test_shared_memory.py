"""Regions of shared memory: what may be registered, by whom, and how long it is kept."""

from __future__ import annotations

import os

import pytest

from tsl.frontend import shared_memory
from tsl.frontend.shared_memory import MAX_REGIONS, SharedMemory, names_in
from tsl.protocol.errors import Conflict, Forbidden, InvalidRequest, ResourceNotFound
from tsl.protocol.shared_memory import REGIONS, unpack

HERE = "/127.0.0.1:5000"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in the place of ``/dev/shm``, with an object of 100 bytes."""
    monkeypatch.setattr(shared_memory, "FOLDER", str(tmp_path / "shm"))
    (tmp_path / "shm").mkdir()
    (tmp_path / "shm" / "object").write_bytes(bytes(100))
    (tmp_path / "secret").write_bytes(bytes(100))
    return tmp_path / "shm"


def regions(mode="loopback", max_bytes=1000, **options):
    return SharedMemory(mode, max_bytes, **options)


def attach(memory, *names, peer=HERE, takes_tensors=True):
    attached = memory.attach(names, peer, takes_tensors=takes_tensors)
    assert attached.properties[0] == REGIONS
    return unpack(attached.properties[1]), attached.regions


@pytest.mark.parametrize("key", ["object", "/object"])
def test_a_region_is_a_piece_of_an_object(folder, key):
    memory = regions()

    memory.register("r", key, 10, 90)

    assert memory.status() == [{"name": "r", "key": key, "offset": 10, "byte_size": 90}]
    assert memory.status("r") == memory.status()
    table, (region,) = attach(memory, "r", "absent")
    about = (folder / "object").stat()
    assert table.pid == os.getpid()
    assert list(table.regions) == ["r"]
    assert table.regions["r"] == region.ref
    assert region.ref[1:] == (about.st_dev, about.st_ino, 10, 90)


@pytest.mark.parametrize(
    "key",
    ["", "/", ".", "..", "../secret", "a/../object", "/a/b", "absent", "sem.x", "a\0b", "x" * 300],
)
def test_a_key_is_a_plain_name(folder, key):
    (folder / "sem.x").write_bytes(bytes(100))

    with pytest.raises(InvalidRequest, match="'r'"):
        regions().register("r", key, 0, 1)


def test_links_folders_and_pipes_are_no_objects(folder):
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")

    for key in ("link", "folder", "pipe"):
        with pytest.raises(InvalidRequest, match="'r'"):
            regions().register("r", key, 0, 1)


def test_an_object_of_somebody_else_must_be_everybody_s(folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    (folder / "object").chmod(0o660)
    with pytest.raises(InvalidRequest, match="somebody else"):
        regions().register("r", "object", 0, 1)

    (folder / "object").chmod(0o666)
    memory = regions()
    memory.register("r", "object", 0, 1)

    assert memory.status("r")


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 101), (100, 1), (2**63, 1), (0, 2**64), (-1, 1), (0, 0), (0, -1)]
)
def test_a_region_must_lie_in_its_object(folder, offset, size):
    with pytest.raises(InvalidRequest, match="'r'"):
        regions(max_bytes=2**70).register("r", "object", offset, size)


def test_regions_are_bounded_in_number_and_size(folder, monkeypatch):
    memory = regions(max_bytes=100)
    memory.register("a", "object", 0, 60)
    with pytest.raises(InvalidRequest, match="only 40 more"):
        memory.register("b", "object", 0, 41)
    memory.register("b", "object", 0, 40)
    memory.unregister("a")
    memory.register("c", "object", 0, 60)

    monkeypatch.setattr(shared_memory, "MAX_REGIONS", 2)
    assert MAX_REGIONS > 2
    memory.unregister("b")
    memory.register("d", "object", 0, 1)
    with pytest.raises(InvalidRequest, match="There are 2 regions"):
        memory.register("e", "object", 0, 1)


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_region_has_a_name(folder, name):
    with pytest.raises(InvalidRequest, match="name"):
        regions().register(name, "object", 0, 1)


def test_a_name_is_taken_once(folder):
    memory = regions()
    memory.register("r", "object", 0, 1)

    with pytest.raises(Conflict, match="'r'"):
        memory.register("r", "object", 0, 1)
    with pytest.raises(ResourceNotFound, match="'s'"):
        memory.status("s")
    memory.unregister("s")
    memory.unregister()
    memory.register("r", "object", 0, 1)


def test_a_region_is_open_until_nobody_needs_it(folder):
    memory = regions()
    memory.register("r", "object", 0, 1)
    table, held = attach(memory, "r")
    fd = table.regions["r"].fd

    memory.unregister("r")
    assert os.fstat(fd).st_ino == table.regions["r"].inode
    assert not attach(memory, "r")[0].regions
    held.clear()

    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_what_a_request_may_read_depends_on_the_model():
    memory = regions(max_bytes=1000, max_inline_bytes=10)

    tables = [attach(memory, takes_tensors=takes)[0] for takes in (True, False)]

    assert [(each.max_bytes, each.takes_outputs) for each in tables] == [(1000, True), (10, False)]
    assert attach(regions(has_envelope=True), takes_tensors=False)[0].takes_outputs


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        ("/127.0.0.1:5000", True),
        ("/127.3.0.1:5000", True),
        ("/::1:5000", True),
        ("/::ffff:127.0.0.1:5000", True),
        ("unix", True),
        ("unix:", True),
        ("ipv4:127.0.0.1:5000", True),
        ("ipv6:%5B::1%5D:5000", True),
        ("/10.0.0.1:5000", False),
        ("/::ffff:10.0.0.1:5000", False),
        ("ipv4:10.0.0.1:5000", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", False),
        ("", False),
        ("what", False),
    ],
)
def test_clients_of_other_machines_need_permission(folder, peer, is_local):
    memory = regions()
    memory.register("r", "object", 0, 1)
    regions("any").check(peer)

    if is_local:
        memory.check(peer)
        attach(memory, "r", peer=peer)
    else:
        with pytest.raises(Forbidden, match="machine"):
            memory.check(peer)
        with pytest.raises(Forbidden, match="machine"):
            attach(memory, "r", peer=peer)


def test_it_is_off_until_it_is_switched_on():
    memory = SharedMemory()

    assert not memory.is_on
    assert memory.status() == []
    with pytest.raises(Forbidden, match="switched off"):
        memory.check(HERE)
    assert not attach(memory, "r")[0].regions  # the worker says that there is none


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (
            b'{"shared_memory_region":"a","x":{"shared_memory_region" :\n "b\\u0063\\""}}',
            ["a", 'bc"'],
        ),
        (b'{"shared_memory_region": 7, "text": "\\"shared_memory_region\\": \\"no\\""}', []),
        (b'{"shared_memory_region": "\\q"}', []),
        (b'{"shared_memory_region": "', []),
        (b"", []),
    ],
)
def test_names_are_found_without_parsing(document, names):
    assert names_in(document) == names
