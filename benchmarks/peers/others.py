"""The peers whose service is a small file run by their own Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from .base import HOST, MAX_BODY, QUEUE_JOBS, Launch, Service, ServicePeer, Work
from .encodings import from_json_list, from_json_text, json_base64, json_list, json_text

_TIMEOUT_MS: Final = 120_000
_JSON: Final = "application/json"


class Mosec(ServicePeer):
    """mosec: a front end in Rust, workers in Python."""

    name = "mosec"
    title = "mosec"
    distribution = "mosec"
    script = "mosec_service.py"

    def configured(
        self, service: Service, folder: Path, port: int, environ: Mapping[str, str]
    ) -> Launch:
        """Its options are on the command line."""
        argv = [self.python, self.script, "--address", HOST, "--port", str(port)]
        argv += ["--path", str(folder / "ipc"), "--capacity", str(QUEUE_JOBS)]
        argv += ["--timeout", str(_TIMEOUT_MS), "--max-request-size", str(MAX_BODY)]
        return Launch(argv=argv, port=port, path=self.route, environ=environ)


class LitServe(ServicePeer):
    """LitServe: FastAPI in front, workers in processes."""

    name = "litserve"
    title = "LitServe"
    distribution = "litserve"
    script = "litserve_service.py"

    def configured(
        self, service: Service, folder: Path, port: int, environ: Mapping[str, str]
    ) -> Launch:
        """It reads JSON; its streams are plain text."""
        del folder
        return Launch(
            argv=[self.python, self.script],
            port=port,
            path=self.route,
            environ=environ,
            content_type=_JSON,
            encode=json_base64 if service.work is Work.CLASSIFY else json_text,
            decode=bytes if service.work is Work.STREAM else from_json_text,
        )


class RayServe(ServicePeer):
    """Ray Serve: a proxy, replicas as actors."""

    name = "ray"
    title = "Ray Serve"
    distribution = "ray"
    script = "ray_service.py"

    def configured(
        self, service: Service, folder: Path, port: int, environ: Mapping[str, str]
    ) -> Launch:
        """Its sockets lie deeper than a temporary folder's name allows."""
        del service
        environ = {
            **environ,
            "TMPDIR": "/tmp",
            "PYTHONPATH": str(folder),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        argv = [self.python, self.script]
        return Launch(argv=argv, port=port, path=self.route, environ=environ)


class BentoMl(ServicePeer):
    """BentoML: Starlette in front, adaptive batching within it."""

    name = "bentoml"
    title = "BentoML"
    distribution = "bentoml"
    script = "bentoml_service.py"

    def configured(
        self, service: Service, folder: Path, port: int, environ: Mapping[str, str]
    ) -> Launch:
        """Its own command serves the file; a body is JSON, an answer is text or JSON."""
        argv = [self.python, "-m", "bentoml", "serve", "bentoml_service:Bench"]
        argv += ["--host", HOST, "--port", str(port)]
        environ = {
            **environ,
            "BENTOML_HOME": str(folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        encode = json_base64 if service.work is Work.CLASSIFY else json_text
        launch = Launch(
            argv=argv,
            port=port,
            path=self.route,
            environ=environ,
            content_type=_JSON,
            encode=encode,
        )
        if service.batch_size == 1:
            return launch
        return replace(launch, encode=json_list(encode), decode=from_json_list)
