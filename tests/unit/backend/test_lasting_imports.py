"""What the fork server imports for all workers to come, and how."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tsl.backend.lasting_imports import import_for_good


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a module that can be imported, and forgets it at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    names = set(sys.modules)

    def write(name, source):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)

    yield write
    for name in set(sys.modules) - names:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_an_import_is_not_collected_and_is_frozen(package):
    package(
        "quiet_one", "import gc\nwas_enabled = gc.isenabled()\nkept = [[] for _ in range(5000)]\n"
    )
    before = gc.get_freeze_count()

    assert import_for_good("quiet_one") == ""

    assert not sys.modules["quiet_one"].was_enabled
    assert gc.isenabled()
    assert gc.get_freeze_count() - before > 5000


def test_a_module_that_is_there_costs_nothing(package):
    package("there", "")
    import_for_good("there")
    frozen = gc.get_freeze_count()

    assert import_for_good("there") == ""

    assert gc.get_freeze_count() == frozen


def test_a_frame_tells_its_place_without_reading_the_source(package):
    package(
        "place",
        "import inspect, sys\n"
        "short = inspect.getframeinfo(sys._getframe())\n"
        "long = inspect.getframeinfo(sys._getframe(), 1)\n",
    )
    original = inspect.getframeinfo

    import_for_good("place")

    module = sys.modules["place"]
    assert (module.short.filename, module.short.lineno) == (module.__file__, 2)
    assert module.short.code_context is None
    assert module.long.code_context == ["long = inspect.getframeinfo(sys._getframe(), 1)\n"]
    assert inspect.getframeinfo is original


def test_a_module_that_is_not_installed_is_left_to_the_worker(capsys):
    assert import_for_good("no_such_package") == ""
    assert import_for_good("no_such_package.part") == ""

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("1 / 0\n", "division by zero"),
    ],
)
def test_a_module_that_fails_is_a_reason_not_to_fork(package, capsys, source, reason):
    package("broken", source)

    told = import_for_good("broken")

    assert told == f"broken cannot be imported in the fork server: {reason}"
    assert "Traceback" in capsys.readouterr().err
    assert gc.isenabled()


def test_an_installed_package_without_the_module_is_a_reason_not_to_fork(package):
    package("half.__init__", "")

    assert "No module named 'half.other'" in import_for_good("half.other")


@pytest.mark.parametrize(("threads", "calls"), [(2, [1]), (1, [])])
def test_torch_is_kept_from_starting_threads(package, monkeypatch, threads, calls):
    set_to = []
    torch = SimpleNamespace(get_num_threads=lambda: threads, set_num_threads=set_to.append)
    monkeypatch.setitem(sys.modules, "torch", torch)
    package("uses_torch", "")

    import_for_good("uses_torch")

    assert set_to == calls


def test_torch_itself_can_be_forked_afterwards():
    code = (
        "from pathlib import Path\n"
        "from tsl.backend.lasting_imports import import_for_good\n"
        "print(repr(import_for_good('torch')), len(list(Path('/proc/self/task').iterdir())))\n"
    )
    environ = {"PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"}

    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environ,
    )

    assert result.stdout == "'' 1\n"
