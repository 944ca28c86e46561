"""The model store in the words of Triton's repository extension: index, load, unload.

These are management calls under other names: a model is loaded by registering its archive, and
unloaded by unregistering all its versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tsl.model_store import ModelStore, default_name
from tsl.protocol.errors import ModelNotFound, Unsupported

from .management_calls import ManagementCalls
from .registry import ModelRegistry

READY: Final = "READY"
UNAVAILABLE: Final = "UNAVAILABLE"


class ModelRepository:
    """What there is, and what of it is served.

    Args:
        store: the folder with the archives.
        registry: what is served.
        calls: the management operations.
    """

    def __init__(self, store: ModelStore, registry: ModelRegistry, calls: ManagementCalls) -> None:
        self._store = store
        self._registry = registry
        self._calls = calls

    async def index(
        self, *, ready_only: bool = False, served_only: bool = False
    ) -> list[dict[str, Any]]:
        """Every version that is served, and the archives that are not.

        Args:
            ready_only: leave out what cannot be used now.
            served_only: leave out archives; what is in the store is not every caller's business.
        """
        archives: Sequence[tuple[Any, str]] = ()
        if not served_only:
            archives = await asyncio.to_thread(self._store.list_start_models, "all")
        served = [each for each in self._registry if not each.version.is_function]
        entries = []
        for each in served:
            is_ready = each.pool.ready_count > 0
            entries.append(
                {
                    "name": each.version.name,
                    "version": each.version.version,
                    "state": READY if is_ready else UNAVAILABLE,
                    "reason": "" if is_ready else "no worker is ready",
                }
            )
        loaded = {each.version.archive_name for each in served}
        for _, archive in archives:
            if archive not in loaded:
                name = default_name(archive)
                entries.append(
                    {"name": name, "version": "", "state": UNAVAILABLE, "reason": "not loaded"}
                )
        return [each for each in entries if each["state"] == READY or not ready_only]

    async def load(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Serve a model; of one that is served already, make sure that it has a worker.

        Args:
            name: of the model, or of its archive without the suffix.
            parameters: of Triton; there are none that could be followed.

        Raises:
            TslError: there is no such archive, or it cannot be served.
        """
        if parameters:
            raise Unsupported(
                f"A model cannot be loaded with {', '.join(sorted(parameters))}.",
                hint="The archive's model-config.yaml says how it is served.",
            )
        if any(each.version.name == name for each in self._registry):
            if self._registry.get(name).pool.min_workers == 0:
                await self._calls.scale(name, "", {"min_worker": "1", "synchronous": "true"})
            return
        for _, archive in await asyncio.to_thread(self._store.list_start_models, "all"):
            if default_name(archive) == name:
                values = {"url": archive, "model_name": name, "initial_workers": "1"}
                await self._calls.register(values)
                return
        raise ModelNotFound(f"Model not found: {name}", hint="The index names what there is.")

    async def unload(self, name: str) -> None:
        """Stop serving all versions of a model.

        Raises:
            TslError: there is no such model, or this is switched off.
        """
        default = self._registry.get(name)
        for each in self._registry.versions(name):
            if each is not default:
                await self._calls.unregister(name, each.version.version)
        await self._calls.unregister(name, default.version.version)
