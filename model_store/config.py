"""The settings of one model version, merged once from all who have a say.

`merge_config` is pure: what it decides depends on its arguments alone. Which value wins:

=============================  =====================================================
setting                        the first of these that is given
=============================  =====================================================
batchSize, maxBatchDelay       request, archive, ``models=`` of the server, 1 and 100
batchPolicy                    the same, ``default_batch_policy``
responseTimeout,               archive, ``models=``, request, ``default_*_timeout``
startupTimeout
minWorkers, maxWorkers         archive (as a valid pair), ``models=`` (at start only),
                               request, ``default_workers_per_model``
everything else                archive, default
=============================  =====================================================

What a snapshot says comes before all of these.

"Archive" is ``model-config.yaml``. The order is TorchServe's, oddities included, but for one:
there, a timeout that the file does not state counted as 120 s as soon as a file was there at
all, and so beat a request that did state one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .model_yaml import load_model_yaml
from .parallel import Torchrun, parallel_settings
from .request import RegistrationRequest
from .typed_values import TypedValues

BATCH_POLICIES: Final = ("window", "eager", "learned")
DEVICE_TYPES: Final = ("cpu", "gpu")
INPUT_FORMATS: Final = ("tensors",)
WORKER_STARTS: Final = ("auto", "fork", "spawn")

DEFAULT_BATCH_SIZE: Final = 1
DEFAULT_MAX_BATCH_DELAY_MS: Final = 100
DEFAULT_MAX_RETRY_TIMEOUT_S: Final = 300
DEFAULT_SEQUENCE_MAX_IDLE_MS: Final = 60_000

# Numbers that clients send for "not given".
_UNSET: Final = -1
_UNSET_DELAYS: Final = (-100, -10_000)

_YAML: Final = "model-config.yaml"
_MODELS_JSON: Final = "the server's models setting"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDefaults:
    """What the server's configuration says for models that say nothing.

    Attributes:
        workers: workers of a model that a client registers.
        startup_workers: workers of a model that is loaded at start.
        response_timeout_s: see `ModelConfig`.
        startup_timeout_s: see `ModelConfig`.
        job_queue_size: see `ModelConfig`.
        job_queue_bytes: see `ModelConfig`.
        batch_policy: see `ModelConfig`.
        service_handler: handler of archives that name none.
    """

    workers: int = 0
    startup_workers: int = 1
    response_timeout_s: int = 120
    startup_timeout_s: int = 120
    job_queue_size: int = 100
    job_queue_bytes: int = 256 * 1024 * 1024
    batch_policy: str = "window"
    service_handler: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """All settings of a model version that the front end acts on.

    Attributes:
        min_workers: workers to keep running.
        max_workers: workers that may run.
        batch_size: jobs per batch at most.
        max_batch_delay_ms: how long the first job of a batch may wait for others.
        batch_policy: ``window`` waits for the delay; ``eager`` never lets a worker be idle;
            ``learned`` finds out whether waiting pays.
        response_timeout_s: limit for the handler to answer a batch.
        startup_timeout_s: limit for a worker to load the model.
        max_retry_timeout_s: how long a failing worker is started again; 0: never.
        client_timeout_ms: limit for a job from its arrival; 0: none.
        job_queue_size: jobs that may wait.
        job_queue_bytes: size of the bodies of jobs that may wait.
        device_type: ``cpu`` or ``gpu``; None: whichever is there.
        device_ids: accelerators to use; None: all.
        parallel_type: ``pp``, ``tp``, ``pptp``, ``custom``, or None.
        parallel_level: devices per worker; 0 without a parallel type.
        torchrun: the section of that name; None without it.
        use_job_ticket: refuse jobs while no worker is idle.
        continuous_batching: let jobs join a running batch.
        sequence_batching: keep the jobs of a sequence on one worker.
        sequence_max_idle_ms: when a silent sequence ends; 0: there are no sequences.
        sequence_timeout_ms: when any sequence ends; 0: never.
        max_num_sequence: sequences at a time.
        max_sequence_job_queue_size: jobs of a sequence that may wait.
        async_communication: send jobs to the worker as they come, answered in any order.
        use_venv: give the model a Python environment of its own.
        worker_start: how worker processes are made.
        input_format: ``tensors`` for a handler that takes and returns arrays by name; None: as
            TorchServe does it.
        share_model: load once and fork the workers; None: let the server decide.
        yaml: the whole file for the handler; ``{}`` without a file, None for an empty one.
    """

    min_workers: int = 0
    max_workers: int = 0
    batch_size: int = DEFAULT_BATCH_SIZE
    max_batch_delay_ms: int = DEFAULT_MAX_BATCH_DELAY_MS
    batch_policy: str = "window"
    response_timeout_s: int = 120
    startup_timeout_s: int = 120
    max_retry_timeout_s: int = DEFAULT_MAX_RETRY_TIMEOUT_S
    client_timeout_ms: int = 0
    job_queue_size: int = 100
    job_queue_bytes: int = 256 * 1024 * 1024
    device_type: str | None = None
    device_ids: tuple[int, ...] | None = None
    parallel_type: str | None = None
    parallel_level: int = 0
    torchrun: Torchrun | None = None
    use_job_ticket: bool = False
    continuous_batching: bool = False
    sequence_batching: bool = False
    sequence_max_idle_ms: int = 0
    sequence_timeout_ms: int = 0
    max_num_sequence: int = 0
    max_sequence_job_queue_size: int = 0
    async_communication: bool = False
    use_venv: bool = False
    worker_start: str = "auto"
    input_format: str | None = None
    share_model: bool | None = None
    yaml: Any = field(default_factory=dict)

    @property
    def has_ranks(self) -> bool:
        """Whether a worker is made of processes that the server starts."""
        return self.parallel_level > 0 and self.parallel_type != "custom"


def merge_config(
    yaml_text: bytes | None,
    models_json_entry: Mapping[str, Any] | None,
    request: RegistrationRequest,
    defaults: ServerDefaults,
) -> tuple[ModelConfig, list[str]]:
    """Decide every setting of a model version.

    Args:
        yaml_text: content of ``model-config.yaml``; None without such a file.
        models_json_entry: what the server's ``models`` setting says about this version.
        request: the registration.
        defaults: values of the server.

    Returns:
        The settings, and a sentence about each value that was passed over.

    Raises:
        InvalidArchive: the YAML cannot be read, or contradicts itself.
    """
    warnings: list[str] = []
    document = load_model_yaml(yaml_text) if yaml_text is not None else {}
    yaml = TypedValues(document or {}, _YAML, warnings)
    server = TypedValues(models_json_entry or {}, _MODELS_JSON, warnings)
    min_workers, max_workers = _workers(yaml, server, request, defaults, warnings)
    config = ModelConfig(
        min_workers=min_workers,
        max_workers=max_workers,
        batch_size=_batch_size(yaml, server, request),
        max_batch_delay_ms=_max_batch_delay_ms(yaml, server, request, warnings),
        batch_policy=_batch_policy(yaml, server, request, defaults),
        response_timeout_s=_timeout_s(
            (yaml, server),
            "responseTimeout",
            request.response_timeout_s,
            defaults.response_timeout_s,
            warnings,
        ),
        startup_timeout_s=_timeout_s(
            (yaml, server),
            "startupTimeout",
            request.startup_timeout_s,
            defaults.startup_timeout_s,
            warnings,
        ),
        max_retry_timeout_s=_or(
            yaml.integer("maxRetryTimeoutInSec", minimum=0), DEFAULT_MAX_RETRY_TIMEOUT_S
        ),
        client_timeout_ms=yaml.integer("clientTimeoutInMills", minimum=0) or 0,
        job_queue_size=yaml.integer("jobQueueSize", minimum=0) or defaults.job_queue_size,
        job_queue_bytes=yaml.integer("jobQueueBytes", minimum=0) or defaults.job_queue_bytes,
        device_type=yaml.choice("deviceType", DEVICE_TYPES),
        device_ids=yaml.integers("deviceIds"),
        use_job_ticket=yaml.flag("useJobTicket") or False,
        continuous_batching=yaml.flag("continuousBatching") or False,
        async_communication=yaml.flag("asyncCommunication") or False,
        use_venv=yaml.flag("useVenv") or False,
        worker_start=yaml.choice("workerStart", WORKER_STARTS) or "auto",
        input_format=yaml.choice("inputFormat", INPUT_FORMATS),
        share_model=yaml.flag("shareModel"),
        yaml=document,
        **parallel_settings(yaml, document or {}, _YAML, warnings),
        **_sequence(yaml, warnings),
    )
    return dataclasses.replace(config, **request.restored), warnings


def _or(value: int | None, default: int) -> int:
    """The value, 0 included, or the default."""
    return default if value is None else value


def _batch_size(yaml: TypedValues, server: TypedValues, request: RegistrationRequest) -> int:
    if request.batch_size is not None and request.batch_size != _UNSET:
        return max(1, request.batch_size)
    stated = yaml.integer("batchSize")
    if stated is not None:
        return max(1, stated)
    return server.integer("batchSize", minimum=1) or DEFAULT_BATCH_SIZE


def _batch_policy(
    yaml: TypedValues,
    server: TypedValues,
    request: RegistrationRequest,
    defaults: ServerDefaults,
) -> str:
    stated = (source.choice("batchPolicy", BATCH_POLICIES) for source in (yaml, server))
    return request.batch_policy or next(filter(None, stated), defaults.batch_policy)


def _max_batch_delay_ms(
    yaml: TypedValues, server: TypedValues, request: RegistrationRequest, warnings: list[str]
) -> int:
    asked = request.max_batch_delay_ms
    if asked is not None and asked not in _UNSET_DELAYS:
        if asked >= 0:
            return asked
        warnings.append(f"max_batch_delay must not be negative, not {asked}; 0 is used")
        return 0
    return (
        yaml.integer("maxBatchDelay", minimum=0)
        or server.integer("maxBatchDelay", minimum=1)
        or DEFAULT_MAX_BATCH_DELAY_MS
    )


def _timeout_s(
    sources: tuple[TypedValues, ...],
    key: str,
    asked: int | None,
    default: int,
    warnings: list[str],
) -> int:
    for source in sources:
        stated = source.integer(key, minimum=1)
        if stated is not None:
            return stated
    if asked is None or asked == _UNSET:
        return default
    if asked > 0:
        return asked
    warnings.append(f"{key} of the request must be from 1 up, not {asked}; {default} is used")
    return default


def _workers(
    yaml: TypedValues,
    server: TypedValues,
    request: RegistrationRequest,
    defaults: ServerDefaults,
    warnings: list[str],
) -> tuple[int, int]:
    low = yaml.integer("minWorkers")
    high = yaml.integer("maxWorkers", minimum=0)
    if low is not None:
        low = max(1, low)
    if low is not None and high is not None and high >= low:
        return low, high
    if low is not None or high is not None:
        warnings.append(
            f"minWorkers and maxWorkers of {_YAML} are used as a pair only, with"
            f" minWorkers <= maxWorkers; {low} and {high} are ignored"
        )
    default = defaults.startup_workers if request.loaded_at_startup else defaults.workers
    count = max(0, _or(request.initial_workers, default))
    if not request.loaded_at_startup:
        return count, count
    low = server.integer("minWorkers", minimum=0) or count
    high = server.integer("maxWorkers", minimum=0) or max(low, count)
    return low, max(low, high)


def _sequence(yaml: TypedValues, warnings: list[str]) -> dict[str, Any]:
    is_stateful = yaml.flag("sequenceBatching") or False
    max_idle_ms = yaml.integer("sequenceMaxIdleMSec", minimum=0) or 0
    if not max_idle_ms:
        if not is_stateful:
            return {"sequence_batching": False}
        # Without an end a sequence would keep its place for ever.
        max_idle_ms = DEFAULT_SEQUENCE_MAX_IDLE_MS
        warnings.append(
            f"sequenceBatching needs sequenceMaxIdleMSec in {_YAML}; {max_idle_ms} is used"
        )
    return {
        "sequence_batching": is_stateful,
        "sequence_max_idle_ms": max_idle_ms,
        "sequence_timeout_ms": yaml.integer("sequenceTimeoutMSec", minimum=0) or 0,
        "max_num_sequence": yaml.integer("maxNumSequence", minimum=1) or 1,
        "max_sequence_job_queue_size": yaml.integer("maxSequenceJobQueueSize", minimum=1) or 1,
    }
