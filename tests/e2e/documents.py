"""Runs the code blocks of Markdown pages, so that what the pages say stays true.

An HTML comment on the line before a block says what the block is for; a page shows nothing of it:

* ``<!-- file: PATH -->``: the block is the content of a file, relative to the working folder.
* ``<!-- run -->``: the block is a terminal. Lines that begin with ``$ `` are commands (a backslash
  at the end goes on in the next line); the lines below a command are what it prints.

In printed lines ``...`` stands for anything, and a number with a decimal point for any other one:
the last digits of a model's answer depend on the processor. Blocks without a comment are for
people only. Pages name the usual ports; a `Terminal` puts in those of its own server.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
COMMAND_S = 60

_BLOCK = re.compile(
    r"^<!-- (?P<kind>file|run)(?:: (?P<path>\S+))? -->\n+```\w*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_WILD = re.compile(r"\.\.\.|\d+\.\d+")
_USUAL = {
    "inference": "http://127.0.0.1:8080",
    "management": "http://127.0.0.1:8081",
    "metrics": "http://127.0.0.1:8082",
}

_FREE_PORTS = {
    "inference_address": "http://127.0.0.1:0",
    "management_address": "http://localhost:0",  # equal addresses share one listener
    "metrics_address": "http://127.0.0.1:0",
    "grpc_inference_port": "0",
    "grpc_management_port": "0",
}


class Block(NamedTuple):
    """One block that is for us.

    Attributes:
        kind: ``file`` or ``run``.
        path: of the file.
        text: between the fences.
        line: of the page, for messages.
    """

    kind: str
    path: str
    text: str
    line: int


class Step(NamedTuple):
    """One command, and what the page says that it prints."""

    command: str
    output: str


def blocks_of(page):
    """The marked blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["kind"],
            found["path"] or "",
            found["text"],
            text.count("\n", 0, found.start("text")) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]


def steps_of(text):
    """The commands of a ``run`` block."""
    steps = []
    for line in text.splitlines():
        goes_on = bool(steps) and not steps[-1].output and steps[-1].command.endswith("\\")
        if goes_on:
            steps[-1] = Step(f"{steps[-1].command}\n{line}", "")
        elif line.startswith("$ "):
            steps.append(Step(line[2:], ""))
        else:
            assert steps, f"output before the first command: {line!r}"
            steps[-1] = Step(steps[-1].command, f"{steps[-1].output}{line}\n")
    return steps


def matches(expected, printed):
    """Whether a command printed what the page shows."""
    expected, printed = (
        "\n".join(line.rstrip() for line in text.strip().splitlines())
        for text in (expected, printed)
    )
    pattern, at = "", 0
    for wild in _WILD.finditer(expected):
        pattern += re.escape(expected[at : wild.start()])
        pattern += ".*?" if wild[0] == "..." else r"\d+(?:\.\d+)?"
        at = wild.end()
    return re.fullmatch(pattern + re.escape(expected[at:]), printed, re.DOTALL) is not None


class Terminal:
    """A person at a terminal, in a folder of its own.

    Args:
        folder: an empty folder.
        replaced: what to run instead of a command of the page: setting up is not repeated here.
    """

    def __init__(self, folder, replaced=None):
        self.folder = folder
        self._replaced = replaced or {}
        self._temp = folder / "tmp"
        self._temp.mkdir()
        programs = Path(sys.executable).parent
        self._environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TS_")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(self._temp),
            "TEMP": str(self._temp),
        }

    def play(self, page):
        """Do what a page says, from top to bottom."""
        for block in blocks_of(page):
            if block.kind == "file":
                target = self.folder / block.path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text)
                continue
            for step in steps_of(block.text):
                printed = self.run(step.command)
                assert matches(step.output, printed), (
                    f"{page.name}, block at line {block.line}: {step.command}\n"
                    f"-- the page says:\n{step.output}\n-- it printed:\n{printed}\n"
                    f"-- the log says:\n{self._log()}"
                )

    def run(self, command):
        """Run a command; returns what it printed to stdout."""
        self._choose_free_ports()
        command = self._replaced.get(command, command).replace(".venv/bin/", "")
        for name, usual in _USUAL.items():
            command = command.replace(usual, self._record().get(name, usual))
        output, errors = self.folder / "stdout.txt", self.folder / "stderr.txt"
        # To files: a server in the background inherits them, so a pipe would never end.
        with output.open("wb") as out, errors.open("wb") as err:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=COMMAND_S,
                check=False,
            )
        printed = output.read_text(errors="replace")
        assert done.returncode == 0, f"{command}\n{printed}\n{errors.read_text(errors='replace')}"
        # A later command needs a fresh file: the server goes on writing into this one.
        output.unlink()
        for name, usual in _USUAL.items():
            address = self._record().get(name)
            printed = printed.replace(address, usual) if address else printed
        return printed

    def _choose_free_ports(self):
        """Give the configuration file, which a page may write or delete, the ports it lacks."""
        file = self.folder / "config.properties"
        lines = file.read_text().splitlines() if file.exists() else []
        named = {line.partition("=")[0].strip() for line in lines}
        missing = [f"{key}={value}" for key, value in _FREE_PORTS.items() if key not in named]
        if missing:
            file.write_text("\n".join([*lines, *missing, ""]))

    def close(self):
        """Stop the server, if the page left one."""
        pid = self._record().get("pid")
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while self._record() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._record():
            os.kill(pid, signal.SIGKILL)
            raise AssertionError("the server did not stop")

    def _record(self):
        """What the pid file says; empty without a server."""
        file = self._temp / f".tsl_server_{os.getuid()}.pid"
        with contextlib.suppress(OSError, ValueError):
            return json.loads(file.read_text())
        return {}

    def _log(self):
        logs = sorted((self.folder / "logs").glob("*_log.log"))
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs)
