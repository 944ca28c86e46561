"""The worker process: ``python -m tsl.backend --socket PATH --worker-id ID``.

Sets up what belongs to the process (signals, logging, working directory, import path), builds a
`Worker` and turns its end into an exit code. Also the main function of a worker that the nursery
forked, so nothing happens here before `main` is called.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

from tsl.protocol.frames import Load

from .connection import Connection
from .marked_output import mark_output
from .metrics import set_default_sink
from .process import die_with_parent, set_title, set_up_logging
from .service import write_traceback
from .ts_names import keep_ts_ours
from .worker import DIED, EXIT_CANNOT_LOAD, EXIT_DIED, EXIT_STOPPED, Preloaded, Worker

TOKEN_VARIABLE: Final = "TSL_WORKER_TOKEN"  # noqa: S105  # the name, not the token


def main(argv: list[str] | None = None, preloaded: Preloaded | None = None) -> int:
    """Run a worker.

    Args:
        argv: command line without the program's name; default is ``sys.argv``.
        preloaded: a model that this process was forked with.

    Returns:
        The exit code; end the process with `leave`.
    """
    args = _parse(argv)
    token = os.environ.pop(TOKEN_VARIABLE, "")
    _set_up_process(args.worker_id)
    try:
        connection = Connection.connect(args.socket)

        def prepare(load: Load) -> None:
            set_title(f"tsl-worker: {args.worker_id} {load.model_name}")
            enter_model_dir(load.model_dir, load.handler)

        try:
            worker = Worker(connection, args.worker_id, token, os.getpid(), prepare, preloaded)
            set_default_sink(worker.record)
            return worker.run()
        finally:
            connection.close()
    except SystemExit as error:
        write_traceback(DIED, error)
        return _exit_code(error)
    except BaseException as error:  # the last boundary; the exit code tells
        write_traceback(DIED, error)
        return EXIT_DIED


def leave(code: int) -> NoReturn:
    """End the process now, without waiting for threads that a handler left running.

    Args:
        code: what `main` returned.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def enter_model_dir(model_dir: str, handler: str) -> None:
    """Make a model's folder the working directory and the first place to import from.

    ``PYTHONPATH`` is extended in the same way, for processes that a handler starts.

    Args:
        model_dir: folder with the unpacked archive; may be a symbolic link to it, then packages
            installed for the model lie beside the link.
        handler: handler string; modules may lie in the folder that it names.
    """
    os.chdir(model_dir)
    real_dir = os.path.realpath(model_dir)
    places = [real_dir]
    if os.path.islink(model_dir):  # noqa: PTH114  # a plain string in, plain strings out
        places.append(os.path.dirname(os.path.abspath(model_dir)))  # noqa: PTH100, PTH120
    sub_folder = handler.partition(":")[0].rpartition("/")[0]
    if sub_folder:
        places.append(os.path.join(real_dir, sub_folder))  # noqa: PTH118
    sys.path[:] = places + [place for place in sys.path if place not in places]
    inherited = os.environ.get("PYTHONPATH", "")
    others = [place for place in inherited.split(os.pathsep) if place and place not in places]
    os.environ["PYTHONPATH"] = os.pathsep.join(places + others)
    importlib.invalidate_caches()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tsl.backend", description="Worker process of tsl; started by the front end."
    )
    parser.add_argument("--socket", required=True, help="path of the front end's Unix socket")
    parser.add_argument("--worker-id", required=True, help="the name to greet it with")
    return parser.parse_args(argv)


def _set_up_process(worker_id: str) -> None:
    mark_output()
    # SIGABRT, which the front end sends to a worker that hangs, shows what it hangs in.
    faulthandler.enable(sys.stderr)
    # A signal to the whole group must not end workers: the front end does, in order. Python
    # functions and not SIG_IGN, because child processes would inherit that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    die_with_parent()
    set_title(f"tsl-worker: {worker_id}")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # Whole lines at once: the last words of a worker that dies are not lost.
            reconfigure(line_buffering=True, errors="backslashreplace")
    set_up_logging()
    keep_ts_ours()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing about a signal."""


def _exit_code(error: SystemExit) -> int:
    """The handler's own exit code, unless it has a meaning between us and the front end."""
    if not isinstance(error.code, int):
        return EXIT_DIED
    code = error.code & 0xFF
    return EXIT_DIED if code in (EXIT_STOPPED, EXIT_CANNOT_LOAD) else code


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # where the server was started is no place to import from
    leave(main())
