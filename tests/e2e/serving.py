"""Start, watch and stop real servers.

A `RunningServer` has a folder of its own for archives, logs and temporary files, and leads a
session of its own, so that nothing it starts can be missed when it ends.
"""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import requests

HANDLERS = Path(__file__).parent.parent / "data" / "handlers"
TSL = [sys.executable, "-P", "-m", "tsl.cli"]
START_S = 30
STOP_S = 20


def eventually(check, what, within=10.0):
    """Wait until a condition holds.

    Args:
        check: called again and again; its first true result is returned. An `OSError` of the
            network or a missing file counts as "not yet".
        what: the condition in words, for the failure.
        within: seconds.
    """
    deadline = time.monotonic() + within
    seen = None
    while time.monotonic() < deadline:
        try:
            seen = check()
        except (OSError, requests.RequestException, http.client.HTTPException) as error:
            seen = error
        else:
            if seen:
                return seen
        time.sleep(0.03)
    raise AssertionError(f"not within {within} s: {what}; last seen: {seen!r}")


def build_archive(
    folder, name, handler, *, version="1.0", config=None, files=None, requirements=None
):
    """Write an archive ``NAME.mar`` around one of the handlers of tests/data.

    Args:
        folder: where to.
        name: of the model and of the file; a version that is not 1.0 is added to the latter.
        handler: file name without its suffix.
        version: of the model.
        config: content of model-config.yaml, as a dictionary.
        files: further files by name.
        requirements: which of them is the list of packages.
    """
    model = {"modelName": name, "modelVersion": version, "handler": f"{handler}.py"}
    members = {f"{handler}.py": (HANDLERS / f"{handler}.py").read_bytes(), **(files or {})}
    if config is not None:
        model["configFile"] = "model-config.yaml"
        members["model-config.yaml"] = json.dumps(config)  # JSON is YAML
    if requirements is not None:
        model["requirementsFile"] = requirements
    members["MAR-INF/MANIFEST.json"] = json.dumps({"runtime": "python", "model": model})
    target = folder / (f"{name}.mar" if version == "1.0" else f"{name}-{version}.mar")
    with zipfile.ZipFile(target, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return target


def workers(count, **config):
    """The settings of a model with so many workers."""
    return {"minWorkers": count, "maxWorkers": count, **config}


class RunningServer:
    """One server and everything that belongs to it.

    Args:
        folder: an empty folder for this server.
    """

    def __init__(self, folder):
        self.folder = folder
        self.store = folder / "store"
        self.temp = folder / "tmp"
        self.logs = folder / "logs"
        self.console = folder / "console.log"
        self.properties = {
            "inference_address": "http://127.0.0.1:0",
            "management_address": "http://localhost:0",  # equal addresses share one listener
            "metrics_address": "http://127.0.0.1:0",
            "disable_token_authorization": "true",
            "enable_grpc": "false",
            "enable_model_api": "true",
        }
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TS_")},
            "TMPDIR": str(self.temp),
            "TEMP": str(self.temp),
            "LOG_LOCATION": str(self.logs),
            "METRICS_LOCATION": str(self.logs),
        }
        self.limits = {}
        self.config_file = folder / "config.properties"
        """Written at each start; None for a start without --ts-config."""
        self.process = None
        for path in (self.store, self.temp):
            path.mkdir(parents=True)

    # Before the start...

    def add(self, name, handler, *, version="1.0", files=None, requirements=None, **config):
        """Put an archive into the model store."""
        build_archive(
            self.store,
            name,
            handler,
            version=version,
            config=config or None,
            files=files,
            requirements=requirements,
        )

    def command(self, *arguments, models="all"):
        """The command line of a start."""
        options = ["--model-store", str(self.store)]
        if self.config_file:
            lines = (f"{key}={value}\n" for key, value in self.properties.items())
            self.config_file.write_text("".join(lines))
            options += ["--ts-config", str(self.config_file)]
        if models:
            options += ["--models", *models.split()]
        return [*TSL, "start", *options, *arguments]

    # ...starting...

    def launch(self, models="all"):
        """Start it, in the foreground of a session of its own, and do not wait."""
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                self.command("--foreground", models=models),
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                preexec_fn=self._set_limits if self.limits else None,
            )
        return self

    def _set_limits(self):
        for limit, values in self.limits.items():
            resource.setrlimit(limit, values)

    def start(self, models="all"):
        """Start it and wait until every model has settled."""
        self.launch(models)
        self.wait_started()
        if models:
            for name in self.model_names():
                self.wait_ready(name)
        return self

    def wait_started(self):
        eventually(self._has_started, "Model server started.", START_S)

    def _has_started(self):
        assert self.process.poll() is None, f"it ended at once:\n{self.output()}"
        # Printed when the pid file has got the ports.
        return "\nModel server started.\n" in f"\n{self.output()}"

    def wait_ready(self, name, within=START_S):
        """Wait until all workers of a model serve."""
        return eventually(lambda: self.ready_workers(name), f"{name} is ready", within)

    def ready_workers(self, name, version=""):
        """The pids of a model's workers when all are ready, else None."""
        document = self.describe(name, version)
        ready = [worker for worker in document["workers"] if worker["status"] == "READY"]
        pids = [worker["pid"] for worker in ready if worker["pid"] > 0]
        return pids if len(pids) >= document["minWorkers"] else None

    # ...asking...

    def record(self):
        """What the pid file says, None while there is none."""
        file = self.temp / f".tsl_server_{os.getuid()}.pid"
        with contextlib.suppress(OSError, ValueError):
            return json.loads(file.read_text())
        return None

    @property
    def inference(self):
        """Address of the inference API as a URL."""
        return self.record()["inference"]

    @property
    def management(self):
        """Address of the management API as a URL."""
        return self.record()["management"]

    @property
    def endpoint(self):
        """Host and port of the inference API."""
        parts = urlsplit(self.inference)
        return parts.hostname, parts.port

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        """What it has written to the console so far."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def log(self, name):
        """The content of a log file, "" while it does not exist."""
        file = self.logs / name
        return file.read_text(errors="replace") if file.exists() else ""

    def model_names(self):
        listed = requests.get(f"{self.management}/models", timeout=10).json()["models"]
        return [model["modelName"] for model in listed]

    def describe(self, name, version=""):
        """The description of a model."""
        path = f"{name}/{version}" if version else name
        answer = requests.get(f"{self.management}/models/{path}", timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()[0]

    def predict(self, name, data=b"", *, timeout=30, **options):
        """POST to a model."""
        url = f"{self.inference}/predictions/{name}"
        if isinstance(data, dict):
            return requests.post(url, json=data, timeout=timeout, **options)
        return requests.post(url, data=data, timeout=timeout, **options)

    def manage(self, method, path, **options):
        """Call the management API."""
        return requests.request(method, f"{self.management}{path}", timeout=60, **options)

    def members(self):
        """The living processes of its session."""
        return members_of(self.process.pid)

    def nursery(self):
        """The pid of the fork server."""
        for pid in self.members():
            with contextlib.suppress(OSError):
                if "tsl-nursery" in Path(f"/proc/{pid}/cmdline").read_text():
                    return pid
        return None

    # ...and stopping.

    def send_signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_ended(self, within=STOP_S):
        """Wait for its end; returns the exit code."""
        return self.process.wait(within)

    def stop(self, number=signal.SIGTERM):
        """End it, and check that it ends as it should."""
        endpoint = self.endpoint
        self.send_signal(number)
        assert self.wait_ended() == 0, self.output()[-3000:]
        self.assert_nothing_is_left(endpoint)

    def assert_nothing_is_left(self, endpoint):
        """No process, no runtime folder, no pid file, no open port."""
        assert self.members() == []
        assert list(self.temp.glob("tsl-*")) == []
        assert self.record() is None
        assert not can_connect(endpoint)

    def close(self):
        """Whatever state it is in: end it and all it has started."""
        if self.process is None:
            return
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None


def members_of(session):
    """The living processes of a session; zombies are not alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
    return found


def is_alive(pid):
    """Whether a process runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def can_connect(endpoint):
    """Whether somebody listens there."""
    try:
        socket.create_connection(endpoint, timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


def resident_bytes(pid):
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
