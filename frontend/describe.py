"""The documents of describe: TorchServe's fields in TorchServe's order."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import psutil

from tsl.protocol.errors import NoWorkers, TslError
from tsl.protocol.frames import Chunk, Reply, Row

from .jobs import Job, SoloJob
from .learned_pool import LearnedPool
from .registry import ServedModel
from .worker import Worker


class ModelDescriber:
    """Describes model versions."""

    def describe(self, served: ServedModel) -> dict[str, Any]:
        """One element of the answer to ``GET /models/{model_name}``."""
        version, pool = served.version, served.pool
        config = version.config
        document: dict[str, Any] = {
            "modelName": version.name,
            "modelVersion": version.version,
            "modelUrl": version.url,
            "runtime": version.runtime,
            "minWorkers": pool.min_workers,
            "maxWorkers": pool.max_workers,
            "batchSize": config.batch_size,
            "maxBatchDelay": config.max_batch_delay_ms,
            "responseTimeout": config.response_timeout_s,
            "startupTimeout": config.startup_timeout_s,
            "maxRetryTimeoutInSec": config.max_retry_timeout_s,
            "clientTimeoutInMills": config.client_timeout_ms,
            "parallelType": config.parallel_type or "",
            "parallelLevel": config.parallel_level,
            "deviceType": config.device_type or _device_type(pool.workers),
        }
        if config.device_ids:
            document["deviceIds"] = list(config.device_ids)
        if config.batch_policy != "window":
            document["batchPolicy"] = config.batch_policy
        if isinstance(pool, LearnedPool):
            document["learnedBatching"] = pool.describe_batching()
        document |= {
            "continuousBatching": config.continuous_batching,
            "useJobTicket": config.use_job_ticket,
            "useVenv": config.use_venv,
            "stateful": config.sequence_batching,
            "sequenceMaxIdleMSec": config.sequence_max_idle_ms,
            "sequenceTimeoutMSec": config.sequence_timeout_ms,
            "maxNumSequence": config.max_num_sequence,
            "maxSequenceJobQueueSize": config.max_sequence_job_queue_size,
            "loadedAtStartup": version.loaded_at_startup,
            "workers": [_worker(worker) for worker in pool.workers],
            "jobQueueStatus": {
                "remainingCapacity": max(pool.queue.capacity - pool.pending, 0),
                "pendingRequests": pool.pending,
            },
        }
        return document

    async def describe_customized(
        self, served: ServedModel, request_id: str, headers: list[bytes]
    ) -> dict[str, Any]:
        """The description, and what the handler says of itself.

        The handler gets an ordinary job with the header ``describe: True``.

        Args:
            served: what is described.
            request_id: id of the job.
            headers: header pairs that the handler sees.

        Raises:
            TslError: the model cannot be asked, or the handler failed.
        """
        if not served.pool.can_serve:
            raise NoWorkers(
                f'Model "{served.version.name}" has no worker to serve describe request.',
                hint="Use scale workers API to add workers.",
            )
        sink = _Answer()
        row = Row(request_id, headers, ["describe", "True"], [])
        job = SoloJob(row, sink, time.monotonic())
        served.pool.submit(job)
        try:
            reply = await sink.future
        except asyncio.CancelledError:
            job.cancel()
            raise
        document = self.describe(served)
        document["customizedMetadata"] = _metadata(bytes(reply.body))
        return document


class _Answer:
    """A sink that can be awaited."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def finish(self, job: Job, reply: Reply) -> None:
        del job
        if not self.future.done():  # whoever asked may have been told to stop
            self.future.set_result(reply)

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A describe handler that streams is answered by its last message."""

    def fail(self, job: Job, error: TslError) -> None:
        del job
        if not self.future.done():
            self.future.set_exception(error)


def _metadata(body: bytes) -> dict[str, Any]:
    """The handler's JSON object; anything else counts as nothing said (TorchServe's rule)."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _worker(worker: Worker) -> dict[str, Any]:
    load = worker.plan.load
    started = worker.started_at
    document = {
        "id": str(worker.plan.number),
        "startTime": started.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if started else "",
        "status": "READY" if worker.is_serving else "UNLOADING",
        "memoryUsage": sum(map(_resident_bytes, worker.pids)),
        "pid": worker.pid,
        "gpu": load.gpu_id >= 0,
        "gpuUsage": "N/A",
    }
    if not worker.is_serving:
        document["state"] = worker.state.name
    if worker.last_failure:
        document["lastFailure"] = worker.last_failure
    return document


def _resident_bytes(pid: int) -> int:
    if pid < 0:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it ended just now
        return 0


def _device_type(workers: list[Worker]) -> str:
    return "gpu" if any(worker.plan.load.gpu_id >= 0 for worker in workers) else "cpu"
