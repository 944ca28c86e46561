"""The file that says which server process runs, so that ``stop`` and ``status`` find it.

One server per working folder and user. The file survives a crash: a record counts only while a
process with its pid *and* start time lives, so a pid that was given to somebody else does not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_DEAD_STATES: Final = frozenset("ZX")
# In /proc/PID/stat, counted after the command's closing parenthesis: proc(5) fields 3 and 22.
_STATE_FIELD: Final = 0
_START_TIME_FIELD: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """What is known about a running server.

    Attributes:
        pid: its process.
        start_ticks: when that process started, in clock ticks since boot.
        inference: address of the inference API as a client writes it.
        management: address of the management API.
        metrics: address of the metrics API, "" when it is off.
        working_dir: its current folder, where its keys and logs are.
        started_at: when it started, ISO 8601 in UTC.
        stop_within_s: seconds it may take to stop.
        needs_token: whether requests have to show a key.
        keys_file: where fixed keys are read from; "" without one.
        log_dir: folder of its logs.
        metrics_dir: folder of its metric logs.
    """

    pid: int
    start_ticks: int
    inference: str
    management: str
    metrics: str
    working_dir: str
    started_at: str
    stop_within_s: float
    needs_token: bool = True
    keys_file: str = ""
    log_dir: str = ""
    metrics_dir: str = ""


class AlreadyRunning(Exception):
    """Another live server holds the pid file.

    Attributes:
        record: that server.
    """

    def __init__(self, record: ServerRecord) -> None:
        super().__init__(f"process {record.pid} is running")
        self.record: Final = record


def start_ticks_of(pid: int, proc: Path = _PROC) -> int | None:
    """When a process started, in clock ticks since boot.

    Args:
        pid: the process.
        proc: where procfs is mounted.

    Returns:
        None when there is no such process, or only its remains.
    """
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command may hold blanks and parentheses; nothing after the last one does.
    fields = stat.rpartition(")")[2].split()
    if fields[_STATE_FIELD] in _DEAD_STATES:
        return None
    return int(fields[_START_TIME_FIELD])


class PidFile:
    """The pid file of a working folder.

    Args:
        work_dir: the folder.
        proc: where procfs is mounted.
    """

    def __init__(self, work_dir: Path, proc: Path = _PROC) -> None:
        name = f".tsl_server_{os.getuid()}"
        self.path: Final = work_dir / f"{name}.pid"
        self._lock_path = work_dir / f"{name}.lock"
        self._proc = proc

    def read(self) -> ServerRecord | None:
        """The record of the live server, or None."""
        try:
            # In a folder that everybody can write, somebody else's file must not choose what
            # `stop` sends a signal to.
            if self.path.lstat().st_uid != os.getuid():
                return None
            record = ServerRecord(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            # Absent, or not written by us: either way it names no server of ours.
            return None
        return record if start_ticks_of(record.pid, self._proc) == record.start_ticks else None

    def claim(self, record: ServerRecord) -> None:
        """Write the record unless a live server holds the file.

        Raises:
            AlreadyRunning: one does.
            OSError: the folder cannot be written.
        """
        with self._locked():
            holder = self.read()
            if holder is not None and holder.pid != record.pid:
                raise AlreadyRunning(holder)
            self._write(record)

    def release(self, record: ServerRecord) -> None:
        """Remove the file if it still is the record's."""
        with self._locked():
            holder = self.read()
            if holder is not None and holder.pid == record.pid:
                self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # A lock file of its own: the pid file is replaced, so a lock on it would be left behind.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._lock_path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, record: ServerRecord) -> None:
        draft = self.path.with_suffix(f".{record.pid}")
        draft.unlink(missing_ok=True)
        # O_EXCL: in a folder that everybody can write, nobody can put a link in our way.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(record), file)
        draft.replace(self.path)
