"""Workflows over HTTP: requests to calls, ends to answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.openapi import ApiDescriptions
from tsl.frontend.http_api.operations import Operations
from tsl.frontend.http_api.router import Router
from tsl.frontend.http_api.routes import workflow_inference_routes, workflow_management_routes
from tsl.frontend.http_api.workflows import WorkflowInference, WorkflowManagement
from tsl.model_store import ModelFolder, Workflow, WorkflowRequest, WorkflowSpec
from tsl.protocol.errors import InternalError
from tsl.protocol.frames import Part, Reply
from tsl.protocol.workflow_errors import NodeFailed, WorkflowNotFound

SPEC = "models:\n  batch-size: 4\n  m: {url: m.mar}\ndag:\n  pre: [m, post]\n  post: []\n"


def workflow_of(name):
    return Workflow(
        name=name,
        url=f"{name}.war",
        spec=WorkflowSpec.parse(SPEC.encode()),
        handler="h.py",
        request=WorkflowRequest(url="w.war"),
        folder=ModelFolder(Path("/w")),
    )


class FakeServed:
    """A workflow whose requests are ended by the test."""

    def __init__(self, name):
        self.workflow = workflow_of(name)
        self.jobs = []
        self.withdrawn = []

    def run(self, job):
        job.queue = self
        self.jobs.append(job)

    def remove(self, job):
        self.withdrawn.append(job)
        return True


class FakeManager:
    """Knows ``w`` and ``v``."""

    def __init__(self):
        self.served = {name: FakeServed(name) for name in ("v", "w")}
        self.asked = []
        self.failure = None

    def get(self, name):
        if name not in self.served:
            raise WorkflowNotFound(f"Workflow not found: {name}")
        return self.served[name]

    def all(self):
        return [served.workflow for served in self.served.values()]

    async def register(self, asked):
        self.asked.append(asked)
        if self.failure:
            raise self.failure
        return workflow_of(asked.workflow_name or "new")

    async def unregister(self, name):
        self.get(name)
        del self.served[name]


@pytest.fixture
def manager():
    return FakeManager()


@pytest.fixture
def stage(manager):
    descriptions = ApiDescriptions("title", None)
    routes = workflow_inference_routes(WorkflowInference(manager), descriptions)
    descriptions.describe(routes)
    return HttpPlay(context={"router": Router(routes)})


# -- running


def test_a_request_becomes_a_job_with_its_fields_and_headers(stage, manager):
    stage.feed(
        request(
            "/wfpredict/w?a=1", "POST", body=b"a=x+y&b=2",
            headers=[("Content-Type", "application/x-www-form-urlencoded"), ("X-H", "1")],
        )
    )  # fmt: skip

    (job,) = manager.served["w"].jobs
    assert job.row.parts == [Part("a", "", b"x y"), Part("b", "", b"2")]
    assert job.row.headers[job.row.headers.index(b"X-H") + 1] == b"1"
    assert job.row.properties == []
    assert job.deadline is None


def test_the_answer_has_its_content_type_and_the_id_of_the_request(stage, manager):
    stage.feed(request("/wfpredict/w", "POST", body=b"x"))
    (job,) = manager.served["w"].jobs

    assert job.finish(Reply(200, "", ["content-type", "application/json"], "", memoryview(b"done")))

    response = stage.response()
    assert (response.status, response.phrase, response.body) == (200, b"OK", b"done")
    assert response.header("content-type") == "application/json"
    assert response.header("x-request-id") == job.row.request_id
    assert stage.stats.statuses == [200]
    assert stage.stats.events == []  # models are counted, workflows are not


def test_a_failure_is_an_error_document(stage, manager):
    stage.feed(request("/wfpredict/w", "POST", body=b"x"))

    manager.served["w"].jobs[0].fail(NodeFailed("Error executing m"))

    response = stage.response()
    assert response.status == 500
    assert json.loads(response.body) == {
        "code": 500,
        "type": "InternalServerException",
        "message": "Error executing m",
    }


def test_an_unknown_workflow_is_not_found(stage):
    for method in ("POST", "OPTIONS"):
        stage = HttpPlay(context={"router": stage.context.router})
        response = stage.feed(request("/wfpredict/none", method)).response()
        assert response.status == 404
        assert json.loads(response.body)["type"] == "WorkflowNotFoundException"


def test_a_client_that_leaves_cancels_and_is_logged(stage, manager):
    stage.feed(request("/wfpredict/w", "POST", body=b"x"))
    (job,) = manager.served["w"].jobs

    stage.transport.lose()

    assert manager.served["w"].withdrawn == [job]
    assert stage.stats.statuses == [499]
    assert not job.finish(Reply(200, "", [], "", b"late"))
    assert bytes(stage.transport.sent) == b""


def test_the_client_s_own_limit_is_the_deadline(stage, manager):
    headers = [("x-request-timeout-ms", "1500")]
    stage.feed(request("/wfpredict/w", "POST", body=b"x", headers=headers))

    (job,) = manager.served["w"].jobs
    assert job.deadline == pytest.approx(job.enqueued_at + 1.5)
    assert job.expire()
    assert stage.response().status == 408


def test_pipelined_requests_are_answered_in_order(stage, manager):
    stage.feed(request("/wfpredict/w", "POST", body=b"1") * 2)
    jobs = manager.served["w"].jobs
    assert len(jobs) == 1

    jobs[0].finish(Reply(200, "", [], "", b"one"))
    jobs[1].finish(Reply(200, "", [], "", b"two"))

    assert [response.body for response in stage.responses()] == [b"one", b"two"]


def test_a_workflow_describes_how_it_is_run(stage):
    response = stage.feed(request("/wfpredict/w", "OPTIONS")).response()

    document = json.loads(response.body)
    assert list(document["paths"]) == ["/wfpredict/w"]
    assert "parameters" not in document["paths"]["/wfpredict/w"]["post"]


# -- managing


def ask(manager, method, target, *, can_download=True, **options):
    """One call of the management API, to its end."""

    async def scenario():
        operations = Operations()
        api = WorkflowManagement(manager, operations, can_download=can_download)
        router = Router(workflow_management_routes(api))
        stage = HttpPlay(context={"router": router}).feed(request(target, method, **options))
        for _ in range(3):
            await asyncio.sleep(0)
        response = stage.response()
        return response.status, json.loads(response.body)

    return asyncio.run(scenario())


def test_workflows_are_listed_in_pages(manager):
    assert ask(manager, "GET", "/workflows?limit=1") == (
        200,
        {"nextPageToken": "1", "workflows": [{"workflowName": "v", "workflowUrl": "v.war"}]},
    )
    assert ask(manager, "GET", "/workflows?limit=1&next_page_token=2")[1] == {"workflows": []}


def test_a_workflow_is_described_in_torchserve_s_words(manager):
    assert ask(manager, "GET", "/workflows/w") == (
        200,
        [
            {
                "workflowName": "w",
                "workflowUrl": "w.war",
                "minWorkers": 1,
                "maxWorkers": 1,
                "batchSize": 4,
                "maxBatchDelay": 50,
                "workflowDag": "{pre=[m, post], post=[]}",
            }
        ],
    )
    assert ask(manager, "GET", "/workflows/none")[0] == 404


def test_a_workflow_is_registered_by_the_query(manager):
    found = ask(
        manager, "POST",
        "/workflows?url=x.war&workflow_name=n&response_timeout=7&startup_timeout=x&s3_sse_kms=true",
    )  # fmt: skip

    text = "Workflow n has been registered and scaled successfully."
    assert found == (200, {"status": text})
    assert manager.asked == [WorkflowRequest(url="x.war", workflow_name="n", response_timeout_s=7)]


def test_a_workflow_is_registered_by_a_json_body(manager):
    body = json.dumps({"url": "x.war", "startup_timeout": 9}).encode()

    assert (
        ask(
            manager,
            "POST",
            "/workflows?url=q",
            body=body,
            headers=[("Content-Type", "application/json")],
        )[0]
        == 200
    )

    assert manager.asked == [WorkflowRequest(url="x.war", startup_timeout_s=9)]


def test_a_url_is_required(manager):
    status, document = ask(manager, "POST", "/workflows")

    assert (status, document["type"]) == (400, "BadRequestException")
    assert document["message"] == "Parameter url is required."


@pytest.mark.parametrize("url", ["http://h/w.war", "FILE:///w.war"])
def test_code_from_elsewhere_needs_the_model_api(manager, url):
    assert ask(manager, "POST", f"/workflows?url={url}", can_download=False)[0] == 405
    assert ask(manager, "POST", f"/workflows?url={url}")[0] == 200
    assert ask(manager, "POST", "/workflows?url=w.war", can_download=False)[0] == 200


def test_a_failed_registration_is_answered(manager):
    manager.failure = InternalError("no")

    assert ask(manager, "POST", "/workflows?url=w.war")[0] == 500


def test_a_workflow_is_unregistered(manager):
    assert ask(manager, "DELETE", "/workflows/w") == (
        200,
        {"status": 'Workflow "w" unregistered'},
    )
    assert ask(manager, "DELETE", "/workflows/w")[0] == 404
