"""Register, scale, unregister, set the default: the only writer of the registry.

Operations on one model name are ordered by a lock of that name; different models do not wait for
each other. Reading archives happens in threads, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from tsl.model_store import (
    ModelStore,
    ModelVersion,
    RegistrationRequest,
    Snapshot,
    SnapshotEntry,
)
from tsl.protocol.errors import Conflict, LoadFailed, LoadOutOfMemory, TslError

from .config import ServerConfig
from .dependencies.environments import ModelEnvironments, PythonEnvironment
from .launcher import ProcessLauncher
from .name_locks import NameLocks
from .pools import is_async, new_pool
from .registry import ModelRegistry, ServedModel
from .resolving import Resolver
from .sequence_headers import SequenceHeaders
from .snapshots import NoRecorder, Recorder
from .worker import Worker, WorkerOwner
from .worker_group import make_worker
from .worker_listener import WorkerListener
from .worker_plans import WorkerPlanner, share_name
from .worker_pool import MetricSink, WorkerPool

logger = logging.getLogger(__name__)


class MetricSinks(Protocol):
    """Where handlers' metrics go."""

    def of(self, name: str, version: str) -> MetricSink:
        """What the workers of a model version report to."""


class ModelManager:
    """Everything that changes what is served.

    Args:
        config: the server's configuration.
        registry: what is served.
        store: finds archives.
        planner: says how workers are started.
        launcher: starts them.
        listener: where they connect to.
        metrics: where their handlers' metrics go.
        environments: install the Python packages that models ask for.
        recorder: told about every change, before its answer; not about those at start.
    """

    def __init__(
        self,
        *,
        config: ServerConfig,
        registry: ModelRegistry,
        store: ModelStore,
        planner: WorkerPlanner,
        launcher: ProcessLauncher,
        listener: WorkerListener,
        metrics: MetricSinks,
        environments: ModelEnvironments,
        recorder: Recorder | None = None,
    ) -> None:
        self._config = config
        self.registry = registry
        self._store = store
        self._resolver = Resolver(store)
        self._planner = planner
        self._launcher = launcher
        self._listener = listener
        self._metrics = metrics
        self._environments = environments
        self._recorder = recorder or NoRecorder()
        self._headers = SequenceHeaders(
            config.ts_header_key_sequence_id,
            config.ts_header_key_sequence_start,
            config.ts_header_key_sequence_end,
        )
        self._leaving: set[WorkerPool] = set()
        self._locks = NameLocks()

    async def register(self, request: RegistrationRequest, *, wait: bool = True) -> ServedModel:
        """Serve another model version.

        Args:
            request: which archive, and what overrides its own settings.
            wait: return when its workers are ready, and leave nothing behind if one is not.

        Raises:
            TslError: the archive cannot be found or used, or the version is there already.
            DependenciesFailed: its Python packages cannot be installed.
            LoadFailed, LoadOutOfMemory: a worker cannot load it (only with ``wait``).
        """
        served = await self.admit(await self._resolve(request), wait=wait)
        await self._recorder.changed()
        return served

    async def _resolve(self, request: RegistrationRequest) -> ModelVersion:
        return await self._resolver.resolve(request)

    async def admit(self, version: ModelVersion, *, wait: bool, alone: bool = False) -> ServedModel:
        """Serve a version that the store has resolved, or let it go.

        Args:
            version: what to serve.
            wait: see `register`.
            alone: refuse it when the name has any version.

        Raises:
            Conflict: the version, or the name, is taken.
            DependenciesFailed: its Python packages cannot be installed.
            LoadFailed, LoadOutOfMemory: a worker cannot load it (only with ``wait``).
        """
        served: ServedModel | None = None
        try:
            async with self._locks.of(version.name):
                self._check_free(version, alone=alone)
                served = self._serve(version, await self._environments.prepare(version))
                if wait:
                    await self._wait_loaded(served)
                return served
        except BaseException:
            if served is None:
                await self.discard(version)
            raise

    async def discard(self, version: ModelVersion) -> None:
        """Let a version go that the store has resolved, and that is not served."""
        self._environments.release(version)
        await asyncio.to_thread(self._store.remove, version)

    def _check_free(self, version: ModelVersion, *, alone: bool) -> None:
        if (version.name, version.version) in self.registry:
            raise Conflict(
                f"Model version {version.version} is already registered for model {version.name}"
            )
        if alone and any(served.version.name == version.name for served in self.registry):
            raise Conflict(f"A model {version.name} is already registered.")

    def _serve(self, version: ModelVersion, environment: PythonEnvironment | None) -> ServedModel:
        config = version.config
        if config.async_communication and not is_async(config):
            logger.warning(
                "%s: asyncCommunication has no effect beside other ways of batching, or with ranks",
                version.name,
            )
        limits = self._planner.cap(
            version, config.min_workers, max(config.max_workers, config.min_workers)
        )
        metrics = self._metrics.of(version.name, version.version)
        new_worker = self._worker_factory(version, environment)
        pool = new_pool(version, self._headers, new_worker, metrics)
        served = ServedModel(version, pool, config.client_timeout_ms / 1000)
        pool.scale(*limits)
        self.registry.add(served)
        return served

    def _worker_factory(
        self, version: ModelVersion, environment: PythonEnvironment | None
    ) -> Callable[[WorkerOwner], Worker]:
        def new_worker(owner: WorkerOwner) -> Worker:
            planned = self._planner.plan(version, getattr(owner, "max_workers", 1), environment)
            return make_worker(planned, self._launcher, self._listener, owner)

        return new_worker

    async def _wait_loaded(self, served: ServedModel) -> None:
        try:
            await served.pool.wait_ready(list(served.pool.workers))
        except BaseException as error:  # also when the one who waits is cancelled
            self.registry.discard(served)
            await self._release(served)
            await self._recorder.undone()
            if isinstance(error, TslError):
                raise _start_failure(served, error) from error
            raise

    async def unregister(self, name: str, version: str = "") -> None:
        """Stop serving a version; without ``version`` the default one.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
            Forbidden: it is the default while others exist.
        """
        async with self._locks.of(name):
            served = self.registry.remove(name, version)
            await self._release(served)
            await self._recorder.changed()

    async def withdraw(self, name: str) -> None:
        """Stop serving all versions of a model, if there are any: its workflow goes."""
        async with self._locks.of(name):
            for served in [each for each in self.registry if each.version.name == name]:
                self.registry.discard(served)
                await self._release(served)

    async def _release(self, served: ServedModel) -> None:
        """Stop the workers of a version that is not registered any more, and drop its files."""
        self._leaving.add(served.pool)
        await served.pool.close(self._config.unregister_model_timeout_s)
        self._leaving.discard(served.pool)
        await self._launcher.forget(share_name(served.version))
        self._environments.release(served.version)
        await asyncio.to_thread(self._store.remove, served.version)

    async def scale(
        self, name: str, version: str, min_workers: int, max_workers: int, *, wait: bool
    ) -> None:
        """Change the number of workers of a version.

        Args:
            name: model name.
            version: "" for the default one.
            min_workers: start workers until there are so many.
            max_workers: stop the newest workers beyond so many.
            wait: return when the new workers are ready and the surplus ones gone.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
            LoadFailed, LoadOutOfMemory: a new worker cannot load (only with ``wait``).
        """
        async with self._locks.of(name):
            served = self.registry.get(name, version)
            min_workers, max_workers = self._planner.cap(served.version, min_workers, max_workers)
            before = list(served.pool.workers)
            started = served.pool.scale(min_workers, max_workers)
            # Written before the wait: they stay the wanted numbers even if a worker cannot load.
            await self._recorder.changed()
            if not wait:
                return
            leaving = [
                worker for worker in before if worker not in served.pool.workers[:max_workers]
            ]
            try:
                await served.pool.wait_ready(started)
            except TslError as error:
                raise _start_failure(served, error) from error
            for worker in leaving:
                await worker.wait_gone()

    async def set_default(self, name: str, version: str) -> None:
        """Answer requests without a version with this one.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        async with self._locks.of(name):
            self.registry.set_default(name, version)
            await self._recorder.changed()

    async def load_at_start(self, locations: list[tuple[str | None, str]]) -> dict[str, TslError]:
        """Register what the configuration names, without waiting for workers.

        Returns:
            The locations that could not be registered, with the reason.
        """
        requests = [
            RegistrationRequest(
                url=location,
                model_name=name,
                initial_workers=self._start_workers,
                loaded_at_startup=True,
            )
            for name, location in locations
        ]
        results = await self._load(requests)
        return {
            request.model_name or request.url: result
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, TslError)
        }

    async def restore(self, snapshot: Snapshot) -> list[tuple[SnapshotEntry, TslError]]:
        """Register what a snapshot names, without waiting for workers.

        An archive that holds another version by now is served as the version it is.

        Returns:
            The entries that could not be registered, with the reason.
        """
        entries = snapshot.entries
        requests = [
            RegistrationRequest(
                url=entry.location,
                model_name=entry.name,
                handler=entry.handler,
                runtime=entry.runtime,
                initial_workers=self._start_workers,
                loaded_at_startup=True,
                restored=entry.settings,
            )
            for entry in entries
        ]
        failures: list[tuple[SnapshotEntry, TslError]] = []
        for entry, result in zip(entries, await self._load(requests), strict=True):
            if isinstance(result, TslError):
                failures.append((entry, result))
                continue
            version = result.version.version
            if version != entry.version:
                logger.warning(
                    "%s: the snapshot says version %s, the archive %s is version %s now",
                    *(entry.name, entry.version, entry.archive, version),
                )
            if entry.is_default:
                self.registry.set_default(entry.name, version)
        return failures

    @property
    def _start_workers(self) -> int:
        return self._config.default_workers_per_model or self._planner.default_workers

    async def _load(self, requests: list[RegistrationRequest]) -> list[ServedModel | TslError]:
        """Register models without waiting for workers; what fails is logged."""
        found = await asyncio.gather(*map(self._resolve, requests), return_exceptions=True)
        # At once, so that no model waits for the packages of another. Versions of one name come in
        # order, because its lock is given in order: the first one becomes the default.
        return await asyncio.gather(*map(self._admit_found, requests, found))

    async def _admit_found(
        self, request: RegistrationRequest, version: ModelVersion | BaseException
    ) -> ServedModel | TslError:
        try:
            if isinstance(version, BaseException):
                raise version
            return await self.admit(version, wait=False)
        except TslError as error:
            logger.warning("Failed to load model: %s: %s", request.url, error)
            return error

    async def close(self, timeout_s: float) -> None:
        """Stop all workers of all models.

        Args:
            timeout_s: after this many seconds workers are killed.
        """
        await self._environments.close()
        pools = {served.pool for served in self.registry} | self._leaving
        await asyncio.gather(*(pool.close(timeout_s) for pool in pools))


def _start_failure(served: ServedModel, error: TslError) -> TslError:
    version = served.version
    text = f"Failed to start workers for model {version.name} version: {version.version}"
    kind = LoadOutOfMemory if isinstance(error, LoadOutOfMemory) else LoadFailed
    return kind(text, hint="The model log has the traceback.")
