"""Names, versions and the default version being served.

Reading is a dictionary look-up on the way of every request. The only writer is `ModelManager`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tsl.model_store import ModelVersion
from tsl.protocol.errors import Conflict, Forbidden, ModelNotFound, VersionNotFound

from .worker_pool import WorkerPool


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model version and the workers that serve it.

    Attributes:
        version: what is served.
        pool: who serves it.
        client_timeout_s: deadline of every request, 0.0 for none (``clientTimeoutInMills``).
    """

    version: ModelVersion
    pool: WorkerPool
    client_timeout_s: float


class _Entry:
    """All versions of one name, in order of registration."""

    __slots__ = ("default", "versions")

    def __init__(self, first: ServedModel) -> None:
        self.default = first
        self.versions = {first.version.version: first}


class ModelRegistry:
    """What is being served."""

    def __init__(self) -> None:
        self._models: dict[str, _Entry] = {}

    def get(self, name: str, version: str = "") -> ServedModel:
        """A version of a model; without ``version`` the default one.

        Raises:
            ModelNotFound: there is no such model.
            VersionNotFound: the model has no such version.
        """
        entry = self._models.get(name)
        if entry is None:
            raise ModelNotFound(f"Model not found: {name}")
        if not version:
            return entry.default
        served = entry.versions.get(version)
        if served is None:
            raise VersionNotFound(f"Model version: {version} does not exist for model: {name}")
        return served

    def versions(self, name: str) -> list[ServedModel]:
        """All versions of a model, in order of registration.

        Raises:
            ModelNotFound: there is no such model.
        """
        entry = self._models.get(name)
        if entry is None:
            raise ModelNotFound(f"Model not found: {name}")
        return list(entry.versions.values())

    def defaults(self) -> list[ServedModel]:
        """The default version of each model, by name."""
        return [entry.default for _, entry in sorted(self._models.items())]

    def __iter__(self) -> Iterator[ServedModel]:
        for entry in self._models.values():
            yield from entry.versions.values()

    def __contains__(self, key: tuple[str, str]) -> bool:
        entry = self._models.get(key[0])
        return entry is not None and key[1] in entry.versions

    def add(self, served: ServedModel) -> None:
        """Serve a version; the first one of a name becomes its default.

        Raises:
            Conflict: the name has that version already.
        """
        name, version = served.version.name, served.version.version
        entry = self._models.get(name)
        if entry is None:
            self._models[name] = _Entry(served)
            return
        if version in entry.versions:
            raise Conflict(f"Model version {version} is already registered for model {name}")
        entry.versions[version] = served

    def remove(self, name: str, version: str = "") -> ServedModel:
        """Take a version out; without ``version`` the default one.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
            Forbidden: it is the default while others exist.
        """
        served = self.get(name, version)
        entry = self._models[name]
        if served is entry.default and len(entry.versions) > 1:
            raise Forbidden(
                f"Cannot remove default version for model {name}",
                hint="Make another version the default first.",
            )
        del entry.versions[served.version.version]
        if not entry.versions:
            del self._models[name]
        return served

    def discard(self, served: ServedModel) -> None:
        """Take a version out, even the default one; another one becomes the default then."""
        name, version = served.version.name, served.version.version
        entry = self._models.get(name)
        if entry is None or entry.versions.get(version) is not served:
            return
        del entry.versions[version]
        if not entry.versions:
            del self._models[name]
        elif entry.default is served:
            entry.default = next(iter(entry.versions.values()))

    def set_default(self, name: str, version: str) -> None:
        """Answer requests without a version with this one.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        served = self.get(name, version)
        self._models[name].default = served
