"""A server as it is by default: nothing without a key, and the commands find theirs."""

import json
import subprocess

import pytest
import requests
from serving import TSL, RunningServer, eventually, workers

pytestmark = pytest.mark.e2e

FIXED = "a-key-that-somebody-chose"


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server with tokens, and a fixed management key."""
    running = RunningServer(tmp_path_factory.mktemp("locked"))
    running.properties["disable_token_authorization"] = "false"
    running.properties["cors_allowed_origin"] = "https://app.example"
    running.environ["TSL_MANAGEMENT_KEY"] = FIXED
    running.environ["TS_KEYSTORE_PASS"] = FIXED
    running.add("echo", "echo", **workers(1))
    running.add("surroundings", "surroundings", **workers(1))
    try:
        running.launch()
        running.wait_started()
        eventually(lambda: can_predict(running, "echo"), "echo serves")
        eventually(lambda: can_predict(running, "surroundings"), "the other one, too")
        yield running
        key_file = running.folder / "key_file.json"
        assert key_file.exists()
        running.stop()
        assert not key_file.exists()
    finally:
        running.close()


def keys(server):
    return json.loads((server.folder / "key_file.json").read_text())


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def ask(server, path, key=None, method="POST", **headers):
    """A request to the inference API, with the inference key unless told otherwise."""
    shown = keys(server)["inference"]["key"] if key is None else key
    return requests.request(
        method,
        f"{server.inference}{path}",
        headers={**(bearer(shown) if shown else {}), **headers},
        data=b"x",
        timeout=10,
    )


def can_predict(server, name):
    return ask(server, f"/predictions/{name}").status_code == 200


def tsl(server, *arguments):
    done = subprocess.run(
        [*TSL, *arguments],
        cwd="/",
        env=server.environ,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_requests_need_their_key(locked):
    assert ask(locked, "/predictions/echo", key="").json()["type"] == "InvalidKeyException"
    assert ask(locked, "/predictions/echo", key=FIXED).status_code == 400
    assert ask(locked, "/ping", key="").status_code == 400
    assert ask(locked, "/predictions/echo").content == b"x"
    models = f"{locked.management}/models"
    assert requests.get(models, headers=bearer(FIXED), timeout=10).status_code == 200
    assert requests.get(models, timeout=10).status_code == 400
    assert requests.get(f"{locked.record()['metrics']}/metrics", timeout=10).status_code == 200
    assert ask(locked, "/", key="", method="OPTIONS").status_code == 200


def test_a_browser_may_ask_without_a_key(locked):
    preflight = ask(
        locked,
        "/predictions/echo",
        key="",
        method="OPTIONS",
        Origin="https://app.example",
        **{"Access-Control-Request-Method": "POST"},
    )

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"


def test_the_key_file_is_private_and_holds_no_fixed_key(locked):
    file = locked.folder / "key_file.json"

    assert file.stat().st_mode & 0o777 == 0o600
    assert set(keys(locked)) == {"inference", "API"}


def test_neither_handlers_nor_logs_learn_a_key(locked):
    secrets = [FIXED, *(entry["key"] for entry in keys(locked).values())]

    seen = ask(locked, "/predictions/surroundings").json()

    eventually(lambda: "/predictions/surroundings" in locked.log("access_log.log"), "it is logged")
    logs = "".join(file.read_text() for file in locked.logs.glob("*.log"))
    assert "PATH" in seen["environ"]
    assert "Content-Length" in seen["headers"]
    assert not [key for key in secrets if key in f"{seen}{logs}{locked.output()}"]


def test_the_commands_use_the_keys(locked):
    assert tsl(locked, "token") == (0, keys(locked)["inference"]["key"] + "\n", "")
    assert tsl(locked, "token", "management") == (0, FIXED + "\n", "")
    code, output, _ = tsl(locked, "status")
    assert code == 0
    assert "echo" in output
    assert "$(tsl token)" in locked.output()


def test_a_new_key_ends_the_old_one(locked):
    old = keys(locked)["inference"]["key"]

    code, output, _ = tsl(locked, "token", "--renew")

    new = output.strip()
    assert code == 0
    assert new == keys(locked)["inference"]["key"]
    assert ask(locked, "/ping", key=new).status_code == 200
    assert ask(locked, "/ping", key=old).status_code == 400
    code, _, error = tsl(locked, "token", "management", "--renew")
    assert code == 1
    assert "fixed" in error
