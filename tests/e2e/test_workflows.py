"""Workflows on a real server, from the archive to the answer."""

import json
import resource
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from serving import HANDLERS, RunningServer, eventually
from wire import connect, post, read_response

pytestmark = pytest.mark.e2e

FAN = """
models:
  max-batch-delay: 1
  timeout-ms: 60000
  left: {url: echo.mar, batch-size: 16}
dag:
  pre: [left, upper]
  left: [join]
  upper: [join]
"""
SLOW = """
models: {retry-attempts: 0}
dag:
  pre: [slow, upper]
  slow: [join]
  upper: [join]
"""


def build_workflow(folder, name, spec):
    """Write ``NAME.war`` around the functions of tests/data/handlers/nodes.py."""
    workflow = {"workflowName": name, "specFile": "spec.yaml", "handler": "nodes.py"}
    manifest = {"createdOn": "1", "archiverVersion": "1", "workflow": workflow}
    with zipfile.ZipFile(folder / f"{name}.war", "w") as archive:
        archive.writestr("WAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("spec.yaml", spec)
        archive.write(HANDLERS / "nodes.py", "nodes.py")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server with the workflow ``fan`` and a folder of its own for workflow archives."""
    server = RunningServer(tmp_path_factory.mktemp("workflows"))
    store = server.folder / "workflows"
    store.mkdir()
    server.properties |= {"workflow_store": str(store), "job_queue_size": "4000"}
    server.add("echo", "echo", version="2.5", minWorkers=1, maxWorkers=1)
    (server.store / "echo-2.5.mar").rename(server.store / "echo.mar")
    try:
        server.start(models="")
        add(server, "fan", FAN)
        yield server
        server.stop()
    finally:
        server.close()


def add(server, name, spec):
    """Build and register a workflow."""
    build_workflow(server.folder / "workflows", name, spec)
    answer = server.manage("POST", f"/workflows?url={name}.war")
    assert answer.status_code == 200, answer.text
    text = f"Workflow {name} has been registered and scaled successfully."
    assert answer.json() == {"status": text}


def drop(server, name):
    assert server.manage("DELETE", f"/workflows/{name}").status_code == 200


def run(server, name, data=b"x", **options):
    url = f"{server.inference}/wfpredict/{name}"
    return requests.post(url, data=data, timeout=30, **options)


def threads_of(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def descriptors_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def thousand(running):
    """A thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    sockets = [connect(running.endpoint) for _ in range(1000)]
    yield sockets
    for sock in sockets:
        sock.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- running


def test_outputs_flow_through_models_and_functions(running):
    answer = run(running, "fan", b"Hello")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.json() == {"left": "Hello", "upper": "HELLO"}


def test_nodes_are_models_with_names_of_their_own(running):
    assert running.model_names() == ["fan__left"]  # functions are not listed
    assert running.describe("fan__left")["modelVersion"] == "2.5"
    assert running.describe("fan__upper")["modelVersion"] == "1.0"
    assert running.predict("fan__upper", b"direct").text == "DIRECT"
    listed = running.manage("GET", "/workflows").json()
    assert listed["workflows"] == [{"workflowName": "fan", "workflowUrl": "fan.war"}]
    (described,) = running.manage("GET", "/workflows/fan").json()
    assert described["workflowDag"] == "{pre=[left, upper], left=[join], upper=[join]}"


def test_leaves_of_all_kinds_are_one_document(running):
    add(running, "leaves", "dag:\n  pre: [upper, join, picture]\n")

    answer = run(running, "leaves", b"a")

    assert answer.json() == {"upper": "A", "join": {"body": "a"}, "picture": {"b64": "iVBORw=="}}
    drop(running, "leaves")


def test_the_type_of_the_one_leaf_is_kept(running):
    add(running, "picture", "dag:\n  pre: [picture]\n")

    answer = run(running, "picture")

    assert (answer.headers["content-type"], answer.content) == ("image/png", b"\x89PNG")
    drop(running, "picture")


def test_a_node_is_run_again_as_often_as_the_specification_says(running, tmp_path):
    add(running, "flaky", "models: {retry-attempts: 2}\ndag:\n  flaky: [upper]\n")

    def ask(failures):
        note = tmp_path / f"{failures}"
        order = {"note": str(note), "failures": failures}
        answer = requests.post(f"{running.inference}/wfpredict/flaky", json=order, timeout=30)
        return answer, len(note.read_text())

    good, attempts = ask(2)
    assert (good.text, attempts) == ("ATTEMPT 3", 3)
    bad, attempts = ask(3)
    assert (bad.status_code, attempts) == (500, 3)
    assert bad.json()["type"] == "InternalServerException"
    assert "Error executing flaky after 3 attempts" in bad.json()["message"]
    drop(running, "flaky")


def test_a_silent_node_is_named(running, tmp_path):
    add(running, "silent", "models: {retry-attempts: 0, timeout-ms: 300}\ndag:\n  pre: [slow]\n")
    note = tmp_path / "note"

    answer = run(running, "silent", json.dumps({"note": str(note), "sleep": 20}))

    assert answer.status_code == 500
    assert "Error executing slow" in answer.json()["message"]
    eventually(lambda: note.read_text() == "cancelled", "the node is told that nobody waits")
    drop(running, "silent")


def test_a_client_that_leaves_cancels_the_nodes(running, tmp_path):
    add(running, "slow", SLOW)
    note = tmp_path / "note"
    body = json.dumps({"note": str(note), "sleep": 20}).encode()
    sock = connect(running.endpoint)
    sock.sendall(post("/wfpredict/slow", body))
    eventually(note.exists, "the slow node runs")

    sock.close()

    eventually(lambda: note.read_text() == "cancelled", "the slow node is told to stop")
    eventually(
        lambda: '"POST /wfpredict/slow HTTP/1.1" 499' in running.log("access_log.log"),
        "it is logged",
    )
    drop(running, "slow")


def test_unregistering_answers_what_is_on_its_way(running, tmp_path):
    add(running, "slow", SLOW)
    note = tmp_path / "note"
    body = json.dumps({"note": str(note), "sleep": 1.0})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run, running, "slow", body)
        eventually(note.exists, "the slow node runs")

        drop(running, "slow")

        assert answer.done()
        assert answer.result().json() == {"slow": "slow", "upper": body.upper()}
    assert run(running, "slow").status_code == 404
    assert running.model_names() == ["fan__left"]


# -- registering


@pytest.mark.parametrize(
    ("spec", "status", "type_name", "word"),
    [
        ("dag:\n  pre: [unloadable]\n", 500, "WorkflowException", "bad__unloadable"),
        ("dag:\n  pre: [gone]\n", 400, "InvalidWorkflowException", "gone"),
        ("models:\n  m: {url: gone.mar}\ndag:\n  pre: [m]\n", 500, "WorkflowException", "gone.mar"),
        ("dag:\n  pre: [upper]\n  upper: [pre]\n", 400, "InvalidDAGException", "pre → upper"),
    ],
    ids=["unloadable", "no function", "no archive", "circle"],
)
def test_a_workflow_that_cannot_be_served_leaves_nothing_behind(
    running, spec, status, type_name, word
):
    build_workflow(running.folder / "workflows", "bad", spec)
    before = set(running.members())

    answer = running.manage("POST", "/workflows?url=bad.war")

    assert (answer.status_code, answer.json()["type"]) == (status, type_name)
    assert word in answer.json()["message"]
    assert running.manage("GET", "/workflows/bad").status_code == 404
    assert running.manage("GET", "/models/bad__pre").status_code == 404
    eventually(lambda: set(running.members()) <= before, "its processes are gone")


def test_a_workflow_is_registered_once(running):
    answer = running.manage("POST", "/workflows?url=fan.war")

    assert (answer.status_code, answer.json()["type"]) == (409, "ConflictStatusException")
    assert run(running, "fan", b"a").json() == {"left": "a", "upper": "A"}


def test_the_archive_must_be_in_the_workflow_store(running):
    answer = running.manage("POST", "/workflows?url=echo.mar")

    assert answer.status_code == 404
    assert answer.json()["type"] == "WorkflowNotFoundException"


# -- many at a time


def test_a_thousand_requests_at_a_time_are_each_answered_once(running, thousand):
    """Three rounds of a thousand; the front end needs no thread for them."""
    streams = [sock.makefile("rb") for sock in thousand]
    before = threads_of(running.pid)
    problems = []

    def client(mine):
        for turn in range(3):
            for number in mine:
                thousand[number].sendall(post("/wfpredict/fan", b"n%d-%d" % (number, turn)))
            for number in mine:
                status, _, body = read_response(streams[number])
                expected = {"left": f"n{number}-{turn}", "upper": f"N{number}-{turn}"}
                if status != 200 or json.loads(body) != expected:
                    problems.append((number, turn, status, body))

    clients = [threading.Thread(target=client, args=(range(n, 1000, 4),)) for n in range(4)]
    for each in clients:
        each.start()
    while any(each.is_alive() for each in clients):
        assert threads_of(running.pid) <= before
        clients[0].join(0.05)
        clients[-1].join(0.05)

    assert problems == []
    for sock in thousand:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # nothing came twice
            sock.recv(1)
    pending = running.describe("fan__join")["jobQueueStatus"]["pendingRequests"]
    assert (pending, threads_of(running.pid)) == (0, before)


def test_a_thousand_clients_that_leave_leave_nothing_behind(running, thousand):
    for sock in thousand:
        sock.sendall(post("/wfpredict/fan", b"x"))
    for sock in thousand:
        sock.close()

    def is_idle():
        nodes = ("pre", "left", "upper", "join")
        return descriptors_of(running.pid) < 900 and not any(
            running.describe(f"fan__{node}")["jobQueueStatus"]["pendingRequests"] for node in nodes
        )

    eventually(is_idle, "no connection is open, and no node has anything to do")
    assert run(running, "fan", b"a").json() == {"left": "a", "upper": "A"}
