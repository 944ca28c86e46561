"""The command ``torchserve``: TorchServe's options, then what ``tsl start`` and ``tsl stop`` do.

Launch scripts, containers and SageMaker's toolkit call it. Beside the options they rely on the
process: in the foreground the server takes this very process, so that signals reach it, and its
argument list has the name of TorchServe's Java class, by which the toolkit finds it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from .exit_codes import ExitCode
from .server_process import server_command

TORCHSERVE_VERSION: Final = "0.12.0"
"""The interface that tsl has. As in `ts.version`, which another package may have overwritten."""

_MODELS_METAVAR: Final = "[NAME=]ARCHIVE"

# Attribute of the parsed command line → the option of ``tsl start`` with the same meaning.
_VALUED: Final = {
    "ts_config": "--ts-config",
    "model_store": "--model-store",
    "workflow_store": "--workflow-store",
    "log_config": "--log-config",
}
_SWITCHES: Final = {
    "no_config_snapshots": "--no-config-snapshots",
    "disable_token_auth": "--disable-token-auth",
    "enable_model_api": "--enable-model-api",
}


def parser() -> argparse.ArgumentParser:
    """The options of TorchServe's launcher."""
    made = argparse.ArgumentParser(
        prog="torchserve",
        description="Serve PyTorch models: TorchServe's command, carried out by tsl.",
        epilog="`tsl --help` shows what else there is.",
    )
    action = made.add_mutually_exclusive_group()
    action.add_argument("-v", "--version", action="store_true", help="print the version and exit")
    action.add_argument("--start", action="store_true", help="start the server (also the default)")
    action.add_argument("--stop", action="store_true", help="stop the server and wait for its end")
    made.add_argument("--ts-config", metavar="FILE", help="configuration file")
    made.add_argument("--model-store", metavar="DIR", help="folder with the model archives")
    made.add_argument("--workflow-store", metavar="DIR", help="folder with the workflow archives")
    made.add_argument(
        "--models", nargs="+", metavar=_MODELS_METAVAR, help="archives or URLs to load, or all"
    )
    made.add_argument("--log-config", metavar="FILE", help="configuration of the logs")
    made.add_argument("--cpp-log-config", metavar="FILE", help="accepted and not used")
    made.add_argument(
        "--foreground", action="store_true", help="run in this process, not in the background"
    )
    made.add_argument(
        "--no-config-snapshots",
        "--ncs",
        action="store_true",
        help="neither restore the last snapshot nor write new ones",
    )
    made.add_argument("--plugins-path", "--ppath", metavar="DIR", help="accepted and not used")
    made.add_argument(
        "--disable-token-auth", "--dt", action="store_true", help="serve without tokens"
    )
    made.add_argument(
        "--enable-model-api", action="store_true", help="allow to register models by the API"
    )
    return made


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        args: the words after the program's name; ``sys.argv`` when None.

    Returns:
        The exit code, see docs/exit-codes.md. A wrong command line ends the process with 2, and a
        start in the foreground replaces it.
    """
    options = parser().parse_args(args)
    if options.version:
        sys.stdout.write(f"TorchServe Version is {TORCHSERVE_VERSION}\n")
        return ExitCode.OK
    if options.stop:
        return _tsl(["stop"])
    for given, name in (
        (options.plugins_path, "plugins-path"),
        (options.cpp_log_config, "cpp-log-config"),
    ):
        if given:
            sys.stderr.write(f"--{name} is of use to the Java server only; it is ignored.\n")
    words = start_words(options)
    return _become([*words, "--foreground"]) if options.foreground else _tsl(words)


def _become(words: list[str]) -> NoReturn:
    """Replace this process by the server: same number, another argument list."""
    command = server_command(words)
    os.execv(command[0], command)  # noqa: S606  (our own command line, no shell)


def start_words(options: argparse.Namespace) -> list[str]:
    """The command line behind ``tsl`` with the same meaning."""
    valued = {option: getattr(options, name) for name, option in _VALUED.items()}
    if options.models:
        valued["--models"] = ",".join(options.models)
    return [
        "start",
        *(f"{option}={value}" for option, value in valued.items() if value is not None),
        *(option for name, option in _SWITCHES.items() if getattr(options, name)),
    ]


def _tsl(words: list[str]) -> int:
    from .main import main as run  # a start in the foreground imports it in the new process

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
