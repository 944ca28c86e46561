"""The entry point of the container: which server a platform wants, from its words and variables.

A container must not send its server to the background, or it ends. So a start becomes a start in the
foreground, in this very process, which then gets the signals. Everything that is no start is run
as it is.

Platforms and what they expect:

* TorchServe's image: ``serve``, or a command line;
* KServe: ``torchserve --start --model-store=… --ts-config=…``, and v1 and v2 on port 8080;
* SageMaker: ``serve``, port 8080, models below ``/opt/ml``;
* Vertex AI: port and paths in ``AIP_*`` variables.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .server_process import server_command
from .torchserve import parser, start_words

CONFIG_FILE: Final = "home/model-server/config.properties"
"""Where the image has its configuration file, below the root."""

_SAGEMAKER_MODEL: Final = "opt/ml/model"
_SAGEMAKER_MODELS: Final = "opt/ml/models"
_KSERVE_MOUNT: Final = "/mnt/models"
_KSERVE_PORT: Final = 8080
_ANY_HOST: Final = "http://0.0.0.0"
_INNER: Final = "127.0.0.1"
_INNER_HOST: Final = f"http://{_INNER}"
_INNER_PORTS: Final = (8081, 8082, 7070, 7071)


def main() -> int:
    """Become what the container was asked to be.

    Returns:
        The exit code when that cannot be run; otherwise this process is replaced.
    """
    command = command_line(sys.argv[1:], os.environ, Path("/"))
    if os.environ.get("AIP_STORAGE_URI"):
        _say("AIP_STORAGE_URI is not downloaded; put the archives into the image's model store.")
    environ = {**os.environ, **more_environ(os.environ)}
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606  (what the container is to run)
    except OSError as error:
        _say(f"{command[0]} cannot be run: {error.strerror}.")
        return 127 if isinstance(error, FileNotFoundError) else 126


def command_line(args: Sequence[str], environ: Mapping[str, str], root: Path) -> list[str]:
    """What to run.

    Args:
        args: the container's words; none means ``serve``.
        environ: its environment.
        root: the root of the file system, another one in tests.
    """
    words = list(args) or ["serve"]
    if len(words) == 1 and len(words[0].split()) > 1:
        words = shlex.split(words[0])  # a whole command line in one word
    program, rest = words[0], words[1:]
    if program == "serve":
        return _server([*_serve_words(environ, root), *rest], environ)
    if program == "torchserve":
        return _torchserve(words, environ)
    if words[:2] == ["tsl", "start"]:
        return _server(words[1:], environ)
    return words


def more_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that follow from those of the platform."""
    if environ.get("PROTOCOL_VERSION", "").endswith("v2"):
        return {"TS_OPEN_INFERENCE_PROTOCOL": environ.get("TS_OPEN_INFERENCE_PROTOCOL", "oip")}
    return {}


def _torchserve(words: list[str], environ: Mapping[str, str]) -> list[str]:
    """A start in the foreground; other commands as they are. A wrong one ends with code 2."""
    options = parser().parse_args(words[1:])
    if options.stop or options.version:
        return words
    is_kserve = bool(environ.get("PROTOCOL_VERSION")) or str(options.model_store).startswith(
        _KSERVE_MOUNT
    )
    return _server([*start_words(options), *(_kserve(environ) if is_kserve else [])], environ)


def _server(words: list[str], environ: Mapping[str, str]) -> list[str]:
    foreground = [] if "--foreground" in words else ["--foreground"]
    vertex = _vertex(environ) if _is_vertex(environ) else []
    return server_command([*words, *vertex, *foreground])


def _serve_words(environ: Mapping[str, str], root: Path) -> list[str]:
    file = root / CONFIG_FILE
    words = ["start", *([f"--ts-config={file}"] if file.is_file() else [])]
    if _is_sagemaker(environ, root):
        words += ["--ncs", *_set(_sagemaker(environ, root))]
    return words


# -- platforms -------------------------------------------------------------------------------


def _kserve(environ: Mapping[str, str]) -> list[str]:
    """KServe's configuration file puts the server behind a wrapper that is not needed here."""
    settings = {"inference_address": f"{_ANY_HOST}:{_KSERVE_PORT}", **_NO_TOKENS}
    if environ.get("PROTOCOL_VERSION", "").startswith("grpc"):
        settings["grpc_inference_address"] = "0.0.0.0"  # noqa: S104  (the container's own network)
    return _set(settings)


def _is_vertex(environ: Mapping[str, str]) -> bool:
    return any(name in environ for name in ("AIP_HTTP_PORT", "AIP_PREDICT_ROUTE"))


def _vertex(environ: Mapping[str, str]) -> list[str]:
    settings = {
        "inference_address": f"{_ANY_HOST}:{environ.get('AIP_HTTP_PORT') or 8080}",
        "health_route": environ.get("AIP_HEALTH_ROUTE", ""),
        "predict_route": environ.get("AIP_PREDICT_ROUTE", ""),
        **_NO_TOKENS,
    }
    return _set({key: value for key, value in settings.items() if value})


def _is_sagemaker(environ: Mapping[str, str], root: Path) -> bool:
    has_variable = any(name.startswith("SAGEMAKER_") for name in environ)
    return has_variable or any(
        (root / each).is_dir() for each in (_SAGEMAKER_MODEL, _SAGEMAKER_MODELS)
    )


def _sagemaker(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    outside = f"{_ANY_HOST}:{environ.get('SAGEMAKER_BIND_TO_PORT') or 8080}"
    management, metrics, *grpc = _inner_ports(environ.get("SAGEMAKER_SAFE_PORT_RANGE", ""))
    settings = {
        "inference_address": outside,
        "metrics_address": f"{_INNER_HOST}:{metrics}",
        "grpc_inference_address": _INNER,
        "grpc_inference_port": str(grpc[0]),
        "grpc_management_address": _INNER,
        "grpc_management_port": str(grpc[1]),
        **_NO_TOKENS,
    }
    workers = environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "")
    if workers:
        settings["default_workers_per_model"] = workers
    if environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true":
        return settings | {
            # The platform registers without a number, and asks at once.
            "default_workers_per_model": workers or "1",
            "management_address": outside,
            "enable_model_api": "true",
            "model_store": str(root / _SAGEMAKER_MODELS),
            "load_models": "",
        }
    model = root / _SAGEMAKER_MODEL
    archives = sorted(path.name for path in model.glob("*.mar"))
    return settings | {
        "management_address": f"{_INNER_HOST}:{management}",
        "model_store": str(model),
        "load_models": ",".join(archives) or f"model={model}",
    }


def _inner_ports(safe_range: str) -> Sequence[int]:
    """Ports for what only this container uses; SageMaker may say which are free."""
    first, _, last = safe_range.partition("-")
    if first.isdecimal() and last.isdecimal() and int(last) - int(first) >= len(_INNER_PORTS) - 1:
        return range(int(first), int(first) + len(_INNER_PORTS))
    return _INNER_PORTS


# These platforms let only requests through that they have authorized, and cannot send a token.
_NO_TOKENS: Final = {"disable_token_authorization": "true"}


def _set(settings: Mapping[str, str]) -> list[str]:
    return [f"--set={key}={value}" for key, value in settings.items()]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
