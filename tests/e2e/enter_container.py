"""Run a command where the image's would run: folders of the image below ``/``, a network of its own.

Started by `test_container.py` under ``unshare``. The system's folders are shown as they are; ``/home``,
``/opt`` and ``/mnt`` get what the layer has beside what is there. Nothing outside is changed: all mounts
and the network end with the last process.

Usage: enter_container.py LAYER NEW_ROOT COMMAND...
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

OPEN = ("home", "opt", "mnt")
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def mount(*words):
    subprocess.run(["mount", *words], check=True)


def show(source, target):
    """Make a folder of the system visible in the new root."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir()
        mount("--rbind", str(source), str(target))


def main():
    layer, root, *command = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    mount("-t", "tmpfs", "none", str(root))
    for entry in Path("/").iterdir():
        if entry.name in OPEN and not entry.is_symlink():
            (root / entry.name).mkdir()
            for child in entry.iterdir():
                show(child, root / entry.name / child.name)
        else:
            show(entry, root / entry.name)
    shutil.copytree(layer, root, dirs_exist_ok=True)
    with socket.socket() as any_socket:  # the loopback device is down in a new network
        request = struct.pack("16sh14x", b"lo", IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    os.chroot(root)
    os.chdir("/home/model-server")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
