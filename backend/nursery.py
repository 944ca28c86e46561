"""The fork server: imports torch once, forks workers in a few milliseconds.

Importing torch takes more than a second and some 150 MB; a child forked from a process that has
done it is ready in a fraction of that and shares those pages. The price are rules:

* the nursery runs one thread, and refuses to fork when something has started another one,
* it never touches an accelerator and never runs an operator,
* what every worker is made of is imported here, and shared by them; other modules only when a
  model needs them (`Fork.preload`): a server whose handlers do not use torch never pays for it,
* what it imports is out of the garbage collector's sight (`lasting_imports`), so that collections
  in the children do not copy the shared pages,
* a model folder that has a module of the same name as one imported here cannot be forked: the
  child would see ours,
* a child reseeds its random generators, puts its signals, working directory, environment and
  output descriptors right, and then is an ordinary worker (`tsl.backend.__main__`).

A model that shares its weights (`Fork.share`) has a `Template`, forked from here, which loads the
model once and forks that model's workers. Orders for it pass through here, and so do its answers.

Run as ``python -m tsl.backend.nursery FD``, where FD is its control socket; it ends at the socket's end.
What it is told and answers: `Fork` → `Forked` or `ForkRefused`, later `Exited`; `Unshare` ends a
template; `Preload` may come first, when the front end knows what this start is about.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.frames import Exited, Fork, Forked, ForkRefused, Frame, Preload, Unshare

from .__main__ import main as run_worker
from .fork_server import RECEIVE_BYTES, ForkServer, leave
from .lasting_imports import import_for_good
from .marked_output import mark_output
from .process import die_with_parent, set_title
from .ts_names import keep_ts_ours

KILLED: Final = -9


@dataclass(slots=True)
class _TemplateHandle:
    """The nursery's end of a template.

    Attributes:
        control: socket to it.
        pid: its process id.
        waiting: workers ordered and not answered yet.
        living: workers it has forked.
    """

    control: socket.socket
    pid: int
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    waiting: set[str] = field(default_factory=set)
    living: set[str] = field(default_factory=set)


class Nursery(ForkServer):
    """The server's fork server."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control)
        self._templates: dict[str, _TemplateHandle] = {}

    def _on_order(self, frame: Frame) -> None:
        if isinstance(frame, Unshare):
            handle = self._templates.get(frame.share)
            if handle is not None:
                self._end_template(frame.share, handle)
        elif isinstance(frame, Preload):
            _preload(frame)
        elif isinstance(frame, Fork) and frame.share:
            out, err = self._take_fds()
            try:
                self._forward(frame, [out, err])
            finally:
                os.close(out)
                os.close(err)
        else:
            super()._on_order(frame)

    def _prepare(self, order: Fork, out: int, err: int) -> str:
        """Import what the worker needs."""
        del out, err
        for name in order.preload:
            if reason := import_for_good(name):
                return reason
        try:
            shadowed = _shadowed_modules(Path(order.model_dir))
        except OSError as error:  # somebody has cleaned up the temporary folder, for example
            return f"the model's folder cannot be read: {error.strerror}"
        if shadowed:
            return f"the archive has modules named like imported ones: {', '.join(shadowed)}"
        return ""

    def _work(self, order: Fork) -> int:
        return run_worker(order.argv)

    def _close_inherited(self) -> None:
        super()._close_inherited()
        for handle in self._templates.values():
            handle.control.close()

    # -- templates ---------------------------------------------------------------------------

    def _forward(self, order: Fork, fds: list[int]) -> None:
        handle = self._templates.get(order.share)
        if handle is None:
            reason = self._prepare(order, *fds)
            if reason:
                self._send(ForkRefused(order.worker_id, reason))
                return
            handle = self._start_template(order.share)
        handle.waiting.add(order.worker_id)
        data = b"".join(encode(order))
        sent = socket.send_fds(handle.control, [data], fds)
        handle.control.sendall(data[sent:])

    def _start_template(self, share: str) -> _TemplateHandle:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_template(theirs, share)
        theirs.close()
        handle = self._templates[share] = _TemplateHandle(ours, pid)
        self._poll.register(ours, select.POLLIN)
        return handle

    def _become_template(self, control: socket.socket, share: str) -> None:
        code = 1
        try:
            self._close_inherited()
            from .template import run_template

            code = run_template(control, share)
        except BaseException:  # the boundary of the process
            traceback.print_exc()
        finally:
            leave(code)

    def _on_ready(self, fd: int) -> None:
        """A template answers, or is gone."""
        for share, handle in self._templates.items():
            if handle.control.fileno() == fd:
                try:
                    data = handle.control.recv(RECEIVE_BYTES)
                except ConnectionError:
                    data = b""
                if data:
                    for frame in handle.decoder.feed(data):
                        self._relay(handle, frame)
                else:
                    self._end_template(share, handle)
                return

    def _relay(self, handle: _TemplateHandle, frame: Frame) -> None:
        if isinstance(frame, Forked):
            handle.living.add(frame.worker_id)
        if isinstance(frame, (Forked, ForkRefused)):
            handle.waiting.discard(frame.worker_id)
        elif isinstance(frame, Exited):
            handle.living.discard(frame.worker_id)
        self._send(frame)

    def _end_template(self, share: str, handle: _TemplateHandle) -> None:
        """Close a template's socket, which ends it; its workers die with it."""
        del self._templates[share]
        self._poll.unregister(handle.control)
        handle.control.close()
        os.waitpid(handle.pid, 0)
        for worker_id in handle.waiting:
            self._send(ForkRefused(worker_id, "the process that holds the model ended"))
        for worker_id in handle.living:
            self._send(Exited(worker_id, KILLED))


def _preload(order: Preload) -> None:
    """Import ahead; a failure is told to the first worker that needs it, which tries again."""
    pairs = iter(order.environ)
    os.environ.update(zip(pairs, pairs, strict=True))
    mark_output()  # before anything that is imported remembers the streams
    for name in order.modules:
        import_for_good(name)


def _shadowed_modules(model_dir: Path) -> list[str]:
    """Top-level modules of the archive that are already imported here from elsewhere."""
    shadowed = []
    for entry in model_dir.iterdir():
        name = entry.name.removesuffix(".py")
        is_module = entry.suffix == ".py" or (entry / "__init__.py").is_file()
        if is_module and name in sys.modules:
            shadowed.append(name)
    return sorted(shadowed)


def main(argv: list[str] | None = None) -> int:
    """Run the fork server on the control socket whose descriptor number is given.

    Args:
        argv: that number; ``sys.argv`` when None.
    """
    (descriptor,) = sys.argv[1:] if argv is None else argv
    die_with_parent()
    set_title("tsl-nursery")
    mark_output()
    keep_ts_ours()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A signal to the whole group must not end us before the workers have been drained.
        signal.signal(number, lambda *_: None)
    control = socket.socket(fileno=int(descriptor))
    control.setblocking(True)
    return Nursery(control).run()


if __name__ == "__main__":
    raise SystemExit(main())
