"""Which models get an environment, who shares one, and what becomes of failures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tsl.frontend.dependencies import environments as module
from tsl.frontend.dependencies.environments import ModelEnvironments, PythonEnvironment
from tsl.frontend.dependencies.installer import InstallError
from tsl.model_store import Manifest, ModelConfig, ModelVersion
from tsl.protocol.errors import DependenciesFailed


class FakeRuns:
    """In place of `run_logged`: notes commands; they take as long as the test says."""

    def __init__(self):
        self.commands = []
        self.failure = None
        self.gate = None
        self.ended_early = 0
        self.begun = asyncio.Event()

    async def __call__(self, command, *, label, folder, environ, keep_open):
        assert keep_open >= 0
        self.begun.set()
        self.commands.append((label, "venv" if "venv" in command else "pip"))
        if "venv" in command:
            version = f"python{module.sys.version_info.major}.{module.sys.version_info.minor}"
            (Path(command[-1]) / "lib" / version / "site-packages").mkdir(parents=True)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.ended_early += 1
                raise
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def runs(monkeypatch):
    runs = FakeRuns()
    monkeypatch.setattr(module, "run_logged", runs)
    monkeypatch.setattr(module, "choose_tool", lambda asked: "pip")
    return runs


@pytest.fixture
def new(tmp_path, runs):
    def new(*, installs=True, timeout_s=60):
        return ModelEnvironments(
            tmp_path / "environments", {}, installs=installs, tool="auto", timeout_s=timeout_s
        )

    return new


@pytest.fixture
def version(tmp_path):
    def version(name="m", requirements="a==1\n", *, use_venv=False):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        if requirements is not None:
            (folder / "requirements.txt").write_text(requirements)
        return ModelVersion(
            name=name, version="1.0", handler="h", runtime="python", model_dir=folder, url="m.mar",
            manifest=Manifest(requirements_file=None if requirements is None else "requirements.txt"),
            config=ModelConfig(use_venv=use_venv), loaded_at_startup=False, folder=None,
        )  # fmt: skip

    return version


@pytest.mark.parametrize(
    ("installs", "requirements", "use_venv", "commands"),
    [
        (True, "a\n", False, ["pip"]),
        (True, "a\n", True, ["venv", "pip"]),
        (False, "a\n", True, ["venv"]),
        (True, None, True, ["venv"]),
        (False, "a\n", False, []),
        (True, None, False, []),
    ],
)
def test_who_gets_what(new, version, runs, installs, requirements, use_venv, commands):
    model = version(requirements=requirements, use_venv=use_venv)

    result = asyncio.run(new(installs=installs).prepare(model))

    assert [kind for _, kind in runs.commands] == commands
    if not commands:
        assert result is None
    elif use_venv:
        assert result.python.endswith("/bin/python")
        assert result.packages == ""
    else:
        assert result.python == ""
        assert Path(result.packages).is_dir()


def test_equal_wishes_share_and_others_do_not(new, version, runs):
    async def story():
        environments = new()
        same = [await environments.prepare(version(name)) for name in ("a", "b")]
        other = await environments.prepare(version("c", "a==2\n"))
        venv = await environments.prepare(version("d", use_venv=True))
        return same, other, venv

    (first, second), other, venv = asyncio.run(story())

    assert first == second
    assert len({first, other, PythonEnvironment(packages=venv.python)}) == 3
    assert runs.commands.count(("pip-b_1.0", "pip")) == 0


def test_those_who_come_at_the_same_time_wait_for_one_build(new, version, runs):
    async def story():
        runs.gate = asyncio.Event()
        environments = new()
        waiting = [asyncio.create_task(environments.prepare(version(n))) for n in "abc"]
        await runs.begun.wait()
        waiting[0].cancel()  # who leaves does not stop the others
        await asyncio.sleep(0)
        runs.gate.set()
        return await asyncio.gather(*waiting[1:])

    second, third = asyncio.run(story())

    assert second == third
    assert len(runs.commands) == 1


def test_it_is_kept_when_nobody_uses_it(new, version, runs):
    async def story():
        for _ in range(2):
            environments = new()
            model = version()
            await environments.prepare(model)
            environments.release(model)
            environments.release(model)  # a second time is nothing

    asyncio.run(story())

    assert len(runs.commands) == 1


def test_a_failure_is_told_to_all_with_their_names_and_tried_again(new, version, runs):
    async def story():
        environments = new()
        runs.failure = InstallError("pip ended with exit code 1")
        failures = await asyncio.gather(
            *(environments.prepare(version(name)) for name in ("a", "b")), return_exceptions=True
        )
        runs.failure = None
        return failures, await environments.prepare(version("a"))

    failures, result = asyncio.run(story())

    for name, failure in zip("ab", failures, strict=True):
        assert isinstance(failure, DependenciesFailed)
        assert failure.message == (
            f"Custom pip package installation failed for model {name}: pip ended with exit code 1."
        )
    assert Path(result.packages).is_dir()


def test_an_environment_that_cannot_be_made(new, version, runs):
    runs.failure = InstallError("venv ended with exit code 1")

    with pytest.raises(DependenciesFailed, match="Virtual environment creation failed for model m"):
        asyncio.run(new().prepare(version(use_venv=True)))


def test_a_failed_build_leaves_nothing(new, version, runs, tmp_path):
    runs.failure = InstallError("no")

    with pytest.raises(DependenciesFailed):
        asyncio.run(new().prepare(version()))

    assert [path.suffix for path in (tmp_path / "environments").iterdir()] == [".lock"]


def test_building_has_a_time_limit(new, version, runs):
    async def story():
        runs.gate = asyncio.Event()
        await new(timeout_s=0.05).prepare(version())

    with pytest.raises(DependenciesFailed, match=r"longer than install_py_dep_timeout \(0.05 s\)"):
        asyncio.run(story())
    assert runs.ended_early == 1


def test_a_list_that_is_not_there(new, version):
    model = version()
    (model.model_dir / "requirements.txt").unlink()

    with pytest.raises(DependenciesFailed, match="cannot be read"):
        asyncio.run(new().prepare(model))


def test_closing_ends_what_is_being_built(new, version, runs):
    async def story():
        runs.gate = asyncio.Event()
        environments = new()
        waiting = asyncio.create_task(environments.prepare(version()))
        await runs.begun.wait()
        await environments.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(story())

    assert runs.ended_early == 1
