"""What people read when a server starts: addresses, models and the request to try. Text only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from tsl.frontend.report import ModelReport, StartReport

# Launch scripts of TorchServe wait for exactly this line.
READY_MARKER: Final = "Model server started."

_KEYS: Final = (
    "Requests need a key: `tsl token` prints the one for inference, `tsl token management` the "
    "other."
)
_AUTHORIZATION: Final = '-H "Authorization: Bearer $(tsl token)"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What the requests to try need besides the report.

    Attributes:
        curl_lines: the demo's requests, ``{inference}`` stands for the address; empty when this
            is not the demo.
        needs_token: whether a request has to show a key.
    """

    curl_lines: tuple[str, ...] = ()
    needs_token: bool = False


def listening_lines(report: StartReport) -> list[str]:
    """The ready marker, the addresses, and which models are still on their way."""
    lines = [
        READY_MARKER,
        f"  inference   {report.inference}",
        f"  management  {report.management}",
    ]
    if report.metrics:
        lines.append(f"  metrics     {report.metrics}")
    if report.grpc:
        lines.append(f"  gRPC        {', '.join(report.grpc)}")
    loading = [model for model in report.models if model.state == "loading"]
    if loading:
        lines.append(f"Loading {', '.join(model.name for model in loading)} ...")
    return lines


def settled_lines(report: StartReport, example: Example) -> list[str]:
    """The models with their states, and requests to try if one of them is ready."""
    lines = [_model_line(model) for model in report.models]
    if not lines:
        lines = ["No model was asked for: load some with --models, or register them by the API."]
    ready = [model.name for model in report.models if model.state == "ready"]
    if example.needs_token:
        lines.append(_KEYS)
    if ready:
        lines += ["Try:", *(f"  {line}" for line in _try_lines(report, ready, example))]
    return lines


def _model_line(model: ModelReport) -> str:
    title = f"  {model.state:<10}  {model.name} {model.version}"
    if model.state == "failed":
        return f"{title}: {model.reason or 'the log has the reason'}"
    workers = f"{model.workers_ready}/{model.workers_wanted} workers"
    took = f", {model.load_s:.1f} s" if model.load_s else ""
    return f"{title} ({workers}{took})"


def _try_lines(report: StartReport, ready: list[str], example: Example) -> list[str]:
    lines = example.curl_lines or (f"curl {{inference}}/predictions/{quote(ready[0])} -T FILE",)
    target = report.inference
    if target.startswith("unix:"):
        target = f"--unix-socket {shlex.quote(target.removeprefix('unix:'))} http://localhost"
    filled = [line.format(inference=target) for line in lines]
    if example.needs_token:
        # The key itself must not end up in a log that holds this text.
        filled = [line.replace("curl", f"curl {_AUTHORIZATION}", 1) for line in filled]
    return filled
