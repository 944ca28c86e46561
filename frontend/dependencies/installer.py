"""Run pip or uv in processes of their own, and show what they print in the model log."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..child_process import SAFE_PATH
from ..worker_output import OutputPipes, new_tail

INHERIT: Final = "tsl-inherited-packages.pth"
"""File of a virtual environment that brings the server's own packages in, behind the model's."""


class InstallError(Exception):
    """A command did not end well; the text says how."""


def choose_tool(asked: str) -> str:
    """Which installer to use: ``pip`` or ``uv``.

    Args:
        asked: one of them, or ``auto``: pip, if the server's Python has it.

    Raises:
        InstallError: neither is there.
    """
    if asked == "uv" and shutil.which("uv") is None:
        raise InstallError("uv is not installed; set install_py_dep_tool=pip")
    if asked != "auto":
        return asked
    if importlib.util.find_spec("pip") is not None:
        return "pip"
    if shutil.which("uv") is not None:
        return "uv"
    raise InstallError("neither pip nor uv is installed")


def install_command(
    tool: str, requirements: Path, *, python: str = "", target: Path | None = None
) -> list[str]:
    """The command that installs what a requirements file asks for.

    Args:
        tool: ``pip`` or ``uv``.
        requirements: the file.
        python: interpreter of the environment to install into.
        target: folder to install into, instead of an environment.
    """
    interpreter = python or sys.executable
    if tool == "uv":
        place = ["--target", str(target)] if target is not None else []
        return [
            *("uv", "pip", "install", "--python", interpreter, "--no-progress", "--upgrade"),
            *(*place, "-r", str(requirements)),
        ]
    place = ["-t", str(target)] if target is not None else ["--upgrade-strategy", "only-if-needed"]
    return [
        *(interpreter, SAFE_PATH, "-m", "pip", "install", "--no-input", "--progress-bar", "off"),
        *("--disable-pip-version-check", "-U", *place, "-r", str(requirements)),
    ]


def venv_command(folder: Path) -> list[str]:
    """The command that makes a virtual environment of the server's Python, without pip."""
    return [sys.executable, SAFE_PATH, "-m", "venv", "--without-pip", "--clear", str(folder)]


def inherit_packages(folder: Path) -> None:
    """Let a virtual environment import what the server's Python can, behind its own packages.

    The environments's ``system-site-packages`` would be those of the interpreter that the server's
    own environment was made from.
    """
    lines = [f"import site; site.addsitedir({place!r})\n" for place in inherited_places()]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    (packages / INHERIT).write_text("".join(lines), encoding="utf-8")


def inherited_places() -> list[str]:
    """Folders with the packages of the server's Python."""
    places = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return [place for place in places if os.path.isdir(place)]  # noqa: PTH112


async def run_logged(
    command: list[str], *, label: str, folder: Path, environ: Mapping[str, str], keep_open: int
) -> None:
    """Run a command to its end; when cancelled, end it and all that it has started.

    Args:
        command: what to run.
        label: thread name of its lines in the model log.
        folder: its working directory.
        environ: its environment.
        keep_open: a descriptor that it inherits.

    Raises:
        InstallError: it cannot be started, or it failed.
    """
    pipes = OutputPipes()
    try:
        popen = subprocess.Popen(  # noqa: S603, ASYNC220 - no shell; vfork: about a millisecond
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=pipes.child_ends[0],
            stderr=pipes.child_ends[1],
            pass_fds=(keep_open,),
            process_group=0,
        )
    except OSError as error:
        pipes.close()
        msg = f"{command[0]} cannot be started: {error.strerror}"
        raise InstallError(msg) from error
    pipes.close_child_ends()
    try:
        await pipes.connect(label, new_tail(), is_marked=False)
        await _wait(popen)
    finally:
        if popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
    if popen.returncode:
        tool = next(word for word in ("venv", "uv", "pip") if word in command)
        msg = f"{tool} ended with {_cause(popen.returncode)}"
        raise InstallError(msg)


async def _wait(popen: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process without a thread."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    pidfd = os.pidfd_open(popen.pid)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
        popen.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _cause(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    return f"signal {signal.Signals(-returncode).name}"
