"""What does a large body cost on its way to another process? ``python -m benchmarks.micro.ipc``.

Three ways, between two processes: a Unix socket whose reader reads into the body's own memory, as
frames travel; a memory file for each body, whose descriptor is sent; and memory that both sides
share and use again and again, which is what could be won at most. The times are processor time of
each side.
"""

from __future__ import annotations

import argparse
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from tsl.protocol.buffers import new_buffer

from ..report import table

SIZES: Final = (65_536, 262_144, 1_048_576, 16_777_216)
WARM_UP: Final = 20
_BYTES: Final = 200_000_000
"""So many for each figure."""
_NOTE: Final = b"12345678"
_DONE: Final = b"."


class Way(NamedTuple):
    """How a body travels.

    Attributes:
        name: for the table.
        send: writes it.
        receive: makes a bytearray of it.
    """

    name: str
    send: Callable[[socket.socket, bytearray, mmap.mmap], None]
    receive: Callable[[socket.socket, int, mmap.mmap], bytearray]


def _send_by_socket(sock: socket.socket, body: bytearray, shared: mmap.mmap) -> None:
    del shared
    sock.sendall(body)


def _receive_by_socket(sock: socket.socket, size: int, shared: mmap.mmap) -> bytearray:
    del shared
    body = new_buffer(size)
    view = memoryview(body)
    while view:
        view = view[sock.recv_into(view, 0, socket.MSG_WAITALL) :]
    return body


def _send_by_file(sock: socket.socket, body: bytearray, shared: mmap.mmap) -> None:
    del shared
    file = os.memfd_create("body", os.MFD_CLOEXEC)
    os.write(file, body)
    socket.send_fds(sock, [_NOTE], [file])
    os.close(file)


def _receive_by_file(sock: socket.socket, size: int, shared: mmap.mmap) -> bytearray:
    del shared
    _, files, _, _ = socket.recv_fds(sock, len(_NOTE), 1)
    body = new_buffer(size)
    os.preadv(files[0], [body], 0)
    os.close(files[0])
    return body


def _send_by_memory(sock: socket.socket, body: bytearray, shared: mmap.mmap) -> None:
    shared[: len(body)] = body
    sock.sendall(_NOTE)


def _receive_by_memory(sock: socket.socket, size: int, shared: mmap.mmap) -> bytearray:
    sock.recv(len(_NOTE), socket.MSG_WAITALL)
    return bytearray(memoryview(shared)[:size])


WAYS: Final = (
    Way("socket", _send_by_socket, _receive_by_socket),
    Way("a memory file each", _send_by_file, _receive_by_file),
    Way("the same memory again", _send_by_memory, _receive_by_memory),
)


def measure(way: Way, size: int) -> tuple[float, float]:
    """Microseconds of the sender's and of the receiver's processor time for one body.

    Raises:
        SystemExit: a body did not arrive as it was sent.
    """
    count = max(20, _BYTES // size)
    ours, theirs = socket.socketpair()
    with ours, theirs, mmap.mmap(-1, size) as shared:
        body = bytearray(os.urandom(1024)) * (size // 1024)
        child = os.fork()
        if child == 0:
            _receive_all(way, theirs, shared, body, count)
        for _ in range(WARM_UP):
            way.send(ours, body, shared)
            ours.recv(1)
        started = time.process_time()
        for _ in range(count):
            way.send(ours, body, shared)
            ours.recv(1)
        sender_us = (time.process_time() - started) / count * 1e6
        receiver_us = float(ours.recv(100))
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"{way.name}: a body of {size} bytes is not what was sent")
    return sender_us, receiver_us


def _receive_all(
    way: Way, sock: socket.socket, shared: mmap.mmap, expected: bytearray, count: int
) -> None:
    """The child's whole life."""
    started, is_good = 0.0, True
    for number in range(WARM_UP + count):
        if number == WARM_UP:
            started = time.process_time()
        body = way.receive(sock, len(expected), shared)
        if number < WARM_UP:
            is_good = is_good and body == expected
        sock.sendall(_DONE)
    sock.sendall(b"%f" % ((time.process_time() - started) / count * 1e6))
    os._exit(0 if is_good else 1)


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.ipc", description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        for way in WAYS:
            sender_us, receiver_us = measure(way, size)
            rows.append([f"{size:,} bytes, {way.name}", f"{sender_us:.0f}", f"{receiver_us:.0f}"])
    print(f"python {sys.version.split()[0]}\n")
    print(table(["way", "sender, µs", "receiver, µs"], rows))


if __name__ == "__main__":
    main()
