"""What the front end process imports: neither torch nor numpy nor anything of the backend."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

FORBIDDEN = ("torch", "numpy", "PIL", "captum", "tsl.backend", "ts")


def imported_by(code):
    """Top-level names and our packages that are imported after some code has run."""
    show = "\nimport sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code + show],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module", ["tsl.frontend.server", "tsl.cli.main", "tsl.cli.foreground", "tsl.model_store"]
)
def test_the_server_s_modules_import_nothing_of_the_workers(module):
    assert imported_by(f"import {module}").isdisjoint(FORBIDDEN)


def test_help_is_shown_without_the_server_s_libraries():
    code = "from tsl.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"

    assert imported_by(code).isdisjoint({"uvloop", "httptools", "tsl.frontend.server"})


def test_a_front_end_that_serves_a_torch_model_maps_no_library_of_torch(server):
    server.add("torch", "with_torch", minWorkers=1, maxWorkers=1)
    server.start()
    assert server.predict("torch").json()["sum"] == 3.0

    maps = Path(f"/proc/{server.pid}/maps").read_text()

    assert "uvloop" in maps
    assert "libtorch" not in maps
    assert "numpy" not in maps
    server.stop()


def test_modules_in_the_folder_of_the_start_do_not_replace_the_interpreter_s(server):
    for name in ("random", "select", "msgpack", "torch"):
        (server.folder / f"{name}.py").write_text("raise RuntimeError('imported by mistake')\n")
    server.add("echo", "echo", minWorkers=1, maxWorkers=1)
    server.add("spawned", "echo", minWorkers=1, maxWorkers=1, workerStart="spawn")

    server.start()

    assert server.predict("echo", b"x").content == b"x"
    assert server.predict("spawned", b"x").content == b"x"
    assert "imported by mistake" not in server.output()
    server.stop()
