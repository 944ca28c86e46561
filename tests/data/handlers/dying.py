"""Ends its process, or misbehaves, in the way that the body names."""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def handle(data, context):
    if data is None:  # the call at load time
        return None
    return [_act(bytes(row.get("body", b"")).decode()) for row in data]


def _act(way):
    action = globals().get(f"do_{way}")
    if action is not None:
        action()
    return f"{os.getpid()}"


def do_os_exit():
    os._exit(7)


def do_sys_exit():
    sys.exit(5)


def do_segfault():
    ctypes.string_at(0)


def do_memory_error():
    raise MemoryError


def do_recursion():
    do_recursion()


def do_keyboard_interrupt():
    raise KeyboardInterrupt


def do_raise():
    raise ValueError("raised as asked")


def do_print():
    print("a line on stdout")
    print("a line on stderr", file=sys.stderr)


def do_megabytes():
    """Write ten megabytes without a newline."""
    for _ in range(160):
        sys.stdout.write("x" * 65536)
    sys.stdout.flush()


def do_chatty():
    for number in range(20_000):
        print(f"line {number} of very many")


def do_child():
    """Start a process that outlives this one and holds its output open, then die."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path("child.pid").write_text(str(child.pid))
    os._exit(1)


def do_close():
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(number)


def do_threads():
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
