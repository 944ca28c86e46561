"""Give models the Python packages that they ask for, before their workers start.

`ModelEnvironments` says which models need an environment, lets those with equal wishes share one,
and has each built once. It neither knows how pip is called (`installer`) nor where environments
lie and what makes them complete (`cache`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsl.model_store import ModelVersion
from tsl.protocol.errors import DependenciesFailed

from .cache import CachedFolder, remove_unused
from .fingerprint import fingerprint
from .installer import (
    InstallError,
    choose_tool,
    inherit_packages,
    inherited_places,
    install_command,
    run_logged,
    venv_command,
)

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
"""Part of every key: a change in how environments are made must not meet old ones."""
BUILDS_AT_ONCE: Final = 2
"""Installers take processor time from the workers."""
NO_VENV: Final = "Virtual environment creation failed for model {}"
NO_PACKAGES: Final = "Custom pip package installation failed for model {}"


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """What the workers of a model run with.

    Attributes:
        python: interpreter of a virtual environment; "" for the server's own.
        packages: folder for the import path; "" for none.
    """

    python: str = ""
    packages: str = ""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What one model asks for."""

    use_venv: bool
    requirements: Path | None
    model_dir: Path
    label: str

    def key(self) -> str:
        """Equal for wishes that one environment fulfils. Blocks: it reads files."""
        parts = [str(FORMAT_VERSION), sys.version, sys.executable]
        if self.use_venv:
            parts += ["venv", *inherited_places()]
        if self.requirements is not None:
            parts.append(fingerprint(self.requirements, self.model_dir))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]

    def environment(self, folder: Path) -> PythonEnvironment:
        """What comes of a built folder."""
        if self.use_venv:
            return PythonEnvironment(python=str(folder / "bin" / "python"))
        return PythonEnvironment(packages=str(folder))


class _BuildFailed(Exception):
    """An environment could not be built.

    Args:
        what: what failed, with a place for a model's name: models share builds.
        why: the reason.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        self.what = what
        self.why = why


class _Shared:
    """An environment in use or under way.

    Attributes:
        users: model versions that have it or wait for it.
        ready: ends when it can be used, or could not be built.
    """

    def __init__(self, folder: CachedFolder, ready: asyncio.Task[None]) -> None:
        self.folder = folder
        self.ready = ready
        self.users = 0


class ModelEnvironments:
    """The environments of all models of this server.

    Args:
        root: where they lie; kept between runs, shared between servers.
        environ: environment of the installers.
        installs: whether requirements files are installed (``install_py_dep_per_model``).
        tool: ``pip``, ``uv`` or ``auto``.
        timeout_s: how long one may take to build.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str], *, installs: bool, tool: str, timeout_s: float
    ) -> None:
        self._root = root
        self._environ = environ
        self._installs = installs
        self._tool = tool
        self._timeout_s = timeout_s
        self._shared: dict[str, _Shared] = {}
        self._keys: dict[int, str] = {}
        self._slots = asyncio.Semaphore(BUILDS_AT_ONCE)
        self._is_tidy = False

    async def prepare(self, version: ModelVersion) -> PythonEnvironment | None:
        """Return when the environment of a model is there; None if it needs none.

        Call `release` when its workers are gone. Who stops waiting does not stop a build that
        others wait for.

        Raises:
            DependenciesFailed: it cannot be built.
        """
        wish = self._wish(version)
        if wish is None:
            return None
        await asyncio.to_thread(self._tidy)
        key = await asyncio.to_thread(wish.key)
        shared = self._shared.get(key)
        if shared is None:
            folder = CachedFolder(self._root / key)
            ready = asyncio.create_task(self._provide(folder, wish))
            shared = self._shared[key] = _Shared(folder, ready)
            ready.add_done_callback(lambda _: self._review(key))
        shared.users += 1
        try:
            await asyncio.shield(shared.ready)
        except BaseException as error:
            shared.users -= 1
            self._review(key)
            if isinstance(error, _BuildFailed):
                what = error.what.format(version.name)
                msg = f"{what}: {error.why}."
                raise DependenciesFailed(msg, hint="The model log has the output.") from error
            raise
        self._keys[id(version)] = key
        return wish.environment(shared.folder.path)

    def release(self, version: ModelVersion) -> None:
        """The workers of a version are gone; nothing happens if it had no environment."""
        key = self._keys.pop(id(version), None)
        if key is not None:
            self._shared[key].users -= 1
            self._review(key)

    async def close(self) -> None:
        """Give up what is being built."""
        tasks = [shared.ready for shared in self._shared.values() if not shared.ready.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wish(self, version: ModelVersion) -> _Wish | None:
        name = version.manifest.requirements_file if self._installs else None
        if name is None and not version.config.use_venv:
            return None
        return _Wish(
            use_venv=version.config.use_venv,
            requirements=None if name is None else version.model_dir / name,
            model_dir=version.model_dir,
            label=f"pip-{version.name}_{version.version}",
        )

    def _review(self, key: str) -> None:
        """Forget an environment that nobody uses, or that could not be built."""
        shared = self._shared.get(key)
        if shared is None or not shared.ready.done():
            return
        has_failed = shared.ready.cancelled() or shared.ready.exception() is not None
        if has_failed or not shared.users:
            shared.folder.release()
            del self._shared[key]

    def _tidy(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._is_tidy:
            self._is_tidy = True
            remove_unused(self._root)

    # Building.

    async def _provide(self, folder: CachedFolder, wish: _Wish) -> None:
        """Find an environment, or build it; it is locked for use then."""
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._find_or_build(folder, wish)
            except TimeoutError as error:
                why = f"it took longer than install_py_dep_timeout ({self._timeout_s:g} s)"
                raise _BuildFailed(NO_PACKAGES, why) from error
            except OSError as error:
                why = f"the files cannot be written: {error.strerror}"
                raise _BuildFailed(NO_PACKAGES, why) from error

    async def _find_or_build(self, folder: CachedFolder, wish: _Wish) -> None:
        await folder.lock_shared()
        if await asyncio.to_thread(folder.is_complete):
            return
        folder.release()  # two who wait for the exclusive lock with a shared one would do so for ever
        await folder.lock_exclusive()
        if not await asyncio.to_thread(folder.is_complete):
            logger.info("%s: building its Python environment", wish.label)
            try:
                await self._build(folder, wish)
            except BaseException:
                await asyncio.to_thread(folder.discard)
                raise
            logger.info("%s: the Python environment is built", wish.label)
        await folder.lock_shared()

    async def _build(self, folder: CachedFolder, wish: _Wish) -> None:
        await asyncio.to_thread(folder.begin)
        python = ""
        if wish.use_venv:
            try:
                await self._run(venv_command(folder.path), folder, wish)
            except InstallError as error:
                raise _BuildFailed(NO_VENV, str(error)) from error
            inherit_packages(folder.path)
            python = wish.environment(folder.path).python
        if wish.requirements is not None:
            target = None if wish.use_venv else folder.path
            try:
                tool = choose_tool(self._tool)
                command = install_command(tool, wish.requirements, python=python, target=target)
                await self._run(command, folder, wish)
            except InstallError as error:
                raise _BuildFailed(NO_PACKAGES, str(error)) from error
        about = {"for": wish.label, "python": sys.version}
        await asyncio.to_thread(folder.complete, about)

    async def _run(self, command: list[str], folder: CachedFolder, wish: _Wish) -> None:
        await run_logged(
            command,
            label=wish.label,
            folder=wish.model_dir,
            environ=self._environ,
            keep_open=folder.lock,
        )
