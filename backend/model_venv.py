"""Make a virtual environment that also sees the server's packages."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

INHERITED_FILE: Final = "inherited_site_packages.pth"


def create_venv(venv_path: str | os.PathLike[str]) -> str:
    """Create a virtual environment with pip, unless there is one.

    Args:
        venv_path: its folder.

    Returns:
        Path of its interpreter.

    Raises:
        OSError: the folder cannot be written.
        subprocess.CalledProcessError: pip could not be installed into it.
    """
    folder = Path(venv_path)
    python = folder / "bin" / "python"
    if not python.exists():
        venv.EnvBuilder(with_pip=True).create(folder)
    return str(python)


def inherit_site_packages(venv_path: str | os.PathLike[str]) -> str:
    """Let an environment import what this interpreter can import; its own packages come first.

    Args:
        venv_path: its folder.

    Returns:
        Path of the ``.pth`` file that was written.

    Raises:
        OSError: it cannot be written.
        subprocess.CalledProcessError: the folder holds no working environment.
    """
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run(  # noqa: S603  # the environment's own interpreter
        [str(Path(venv_path) / "bin" / "python"), "-I", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    places = [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
    lines = dict.fromkeys(os.path.realpath(place) for place in places if place not in standard)
    target = Path(answer.stdout.strip()) / INHERITED_FILE
    target.write_text("".join(f"{line}\n" for line in lines))
    return str(target)


def main(argv: Sequence[str] | None = None) -> int:
    """Make an environment that inherits the server's packages: one argument, its folder.

    Args:
        argv: the arguments; default is ``sys.argv``.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        description="Make a virtual environment that also sees the server's packages."
    )
    parser.add_argument("venv_path", help="folder of the environment")
    folder = parser.parse_args(argv).venv_path
    create_venv(folder)
    inherit_site_packages(folder)
    return 0
