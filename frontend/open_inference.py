"""What the Open Inference Protocol says about the server and its models, for REST and gRPC.

Documents are those of the protocol and of Triton's extensions to it. A model says what its
tensors are by ``inputs`` and ``outputs`` of its ``model-config.yaml``; nothing is guessed.
"""

from __future__ import annotations

import time
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any, Final

from tsl.protocol.tensors import DATATYPES

from .registry import ModelRegistry, ServedModel
from .runtime_settings import LogControl, TraceControl
from .shared_memory import SharedMemory

if TYPE_CHECKING:
    from .jobs import Job

EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "generate",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "sequence",
    "statistics",
)
PLATFORM: Final = "pytorch"


class ModelCounters:
    """What has been measured of the calls of one model version; times are in nanoseconds."""

    __slots__ = (
        "failed",
        "failed_ns",
        "infer_ns",
        "last_ms",
        "queue_ns",
        "succeeded",
        "success_ns",
    )

    def __init__(self) -> None:
        self.succeeded = self.failed = 0
        self.success_ns = self.failed_ns = self.queue_ns = self.infer_ns = 0
        self.last_ms = 0

    def note(self, job: Job, *, succeeded: bool) -> None:
        """Count a call that has ended."""
        now = time.monotonic()
        total_ns = int((now - job.enqueued_at) * 1e9)
        self.last_ms = int(time.time() * 1000)
        if not succeeded:
            self.failed += 1
            self.failed_ns += total_ns
            return
        queue_ns = int((job.sent_at - job.enqueued_at) * 1e9)
        self.succeeded += 1
        self.success_ns += total_ns
        self.queue_ns += queue_ns
        self.infer_ns += total_ns - queue_ns


class OpenInference:
    """The server and its models in the words of the protocol.

    Args:
        registry: what is served.
        shared_memory: the regions that clients have registered.

    Attributes:
        log: the server's log, which the logging extension is about.
        trace: traces, which the trace extension is about.
    """

    def __init__(self, registry: ModelRegistry, shared_memory: SharedMemory) -> None:
        self._registry = registry
        self.shared_memory = shared_memory
        self.log = LogControl()
        self.trace = TraceControl(registry)
        self._counters: dict[tuple[str, str], ModelCounters] = {}

    def counters(self, served: ServedModel) -> ModelCounters:
        """The counters of a model version; calls by this protocol are counted there."""
        key = served.version.name, served.version.version
        found = self._counters.get(key)
        if found is None:
            self._forget_the_gone()
            found = self._counters[key] = ModelCounters()
        return found

    def _forget_the_gone(self) -> None:
        for key in [key for key in self._counters if key not in self._registry]:
            del self._counters[key]

    def server(self) -> dict[str, Any]:
        """Metadata of the server."""
        extensions = [*EXTENSIONS]
        if self.shared_memory.is_on:
            extensions.append("system_shared_memory")
        return {"name": "tsl", "version": version_of("tsl"), "extensions": extensions}

    def model(self, name: str, version: str = "") -> dict[str, Any]:
        """Metadata of a model; its versions are all that are served.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        served = self._registry.get(name, version)
        return {
            "name": name,
            "versions": [each.version.version for each in self._registry.versions(name)],
            "platform": PLATFORM,
            "inputs": declared_tensors(served, "inputs"),
            "outputs": declared_tensors(served, "outputs"),
        }

    def is_model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model can be used now.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        return self._registry.get(name, version).pool.ready_count > 0

    def config(self, name: str, version: str = "") -> dict[str, Any]:
        """What Triton's configuration of such a model would be.

        ``max_batch_size`` is 0: batches are made of whole requests, shapes have no dimension for
        them.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        served = self._registry.get(name, version)
        kind = "KIND_GPU" if served.version.config.device_type == "gpu" else "KIND_CPU"
        document: dict[str, Any] = {
            "name": name,
            "platform": PLATFORM,
            "backend": "tsl",
            "max_batch_size": 0,
            "input": [_configured(each) for each in declared_tensors(served, "inputs")],
            "output": [_configured(each) for each in declared_tensors(served, "outputs")],
            "instance_group": [{"count": len(served.pool.workers), "kind": kind}],
        }
        if served.version.config.sequence_batching:
            idle_us = 1000 * served.version.config.sequence_max_idle_ms
            document["sequence_batching"] = {"max_sequence_idle_microseconds": idle_us}
        return document

    def statistics(self, name: str = "", version: str = "") -> dict[str, Any]:
        """What was counted, of one version, of all versions of a model, or of all models.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        if version:
            served = [self._registry.get(name, version)]
        else:
            served = (
                self._registry.versions(name)
                if name
                else [each for each in self._registry if not each.version.is_function]
            )
        return {"model_stats": [_statistics(each, self.counters(each)) for each in served]}


def declared_tensors(served: ServedModel, key: str) -> list[dict[str, Any]]:
    """``inputs`` or ``outputs`` of a model's configuration; entries that are none are left out."""
    yaml = served.version.config.yaml
    entries = yaml.get(key) if isinstance(yaml, dict) else None
    if not isinstance(entries, list):
        return []
    return [
        {"name": str(each["name"]), "datatype": each["datatype"], "shape": list(each["shape"])}
        for each in entries
        if isinstance(each, dict)
        and "name" in each
        and each.get("datatype") in DATATYPES
        and isinstance(each.get("shape"), list)
        and all(type(size) is int and size >= -1 for size in each["shape"])
    ]


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    datatype = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": tensor["shape"]}


def _statistics(served: ServedModel, counters: ModelCounters) -> dict[str, Any]:
    done = counters.succeeded
    return {
        "name": served.version.name,
        "version": served.version.version,
        "last_inference": counters.last_ms,
        "inference_count": done,
        "execution_count": done,
        "inference_stats": {
            "success": {"count": done, "ns": counters.success_ns},
            "fail": {"count": counters.failed, "ns": counters.failed_ns},
            "queue": {"count": done, "ns": counters.queue_ns},
            "compute_input": {"count": done, "ns": 0},
            "compute_infer": {"count": done, "ns": counters.infer_ns},
            "compute_output": {"count": done, "ns": 0},
        },
        "batch_stats": [],
    }
