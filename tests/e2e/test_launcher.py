"""``ts.launcher`` starts and stops a real server, as scripts and test suites do."""

import subprocess
import sys
import venv

import pytest
import requests
from serving import eventually, is_alive

from tsl.backend.model_venv import create_venv, inherit_site_packages

pytestmark = pytest.mark.e2e

SCRIPT = """
import sys
from ts.launcher import start
lines = start(model_store=sys.argv[1], snapshot_file=sys.argv[2], no_config_snapshots=True,
              disable_token=True, models="echo=echo.mar", enable_model_api=True)
assert "Model server started" in "".join(lines.get(timeout=5) for _ in range(lines.qsize()))
print("script is over", flush=True)
"""


def run(code, server, *words):
    with (server.folder / "script.log").open("ab") as log:
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=server.folder,
            env=server.environ,
            stdout=log,
            stderr=log,
            timeout=120,
            check=False,
        ).returncode


def test_a_script_starts_a_server_that_outlives_it_and_another_one_stops_it(server):
    server.add("echo", "echo", minWorkers=1, maxWorkers=1)
    config = server.folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in server.properties.items()))
    printed = server.folder / "script.log"

    code = run(SCRIPT, server, server.store, config)
    try:
        assert code == 0, printed.read_text()[-3000:]
        assert "script is over" in printed.read_text()
        record = server.record()
        url = f"{record['inference']}/predictions/echo"
        # The pipe of the script is gone; the server's log goes nowhere, its answers still come.
        eventually(
            lambda: requests.post(url, data=b"x", timeout=30).content == b"x", "an answer", 30
        )
    finally:
        stopped = run("from ts.launcher import stop; stop(wait=True)", server)

    assert stopped == 0, printed.read_text()[-3000:]
    assert not is_alive(record["pid"])
    assert server.record() is None


def test_a_start_that_fails_says_why(server):
    code = run(SCRIPT, server, server.folder / "no-such-store", "no-such.properties")

    assert code == 1
    text = (server.folder / "script.log").read_text()
    assert "RuntimeError: The server ended while starting" in text


def test_an_environment_imports_what_the_server_imports(tmp_path):
    venv.EnvBuilder(with_pip=False).create(tmp_path)

    python = create_venv(tmp_path)  # it is there: nothing is made
    inherit_site_packages(tmp_path)

    code = "import yaml, sys; print(sys.prefix)"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(tmp_path)
    assert python != sys.executable
