"""KServe's protocol, version 1, as its clients use it."""

import pytest
import requests

pytestmark = pytest.mark.e2e


def test_models_are_listed_by_name_on_both_listeners(shared):
    for base in (shared.inference, shared.management):
        answer = requests.get(f"{base}/v1/models", timeout=10)

        assert answer.status_code == 200
        assert {"echo", "form"} <= set(answer.json()["models"])
        name = answer.json()["models"][0]
        ready = requests.get(f"{base}/v1/models/{name}", timeout=10).json()
        assert ready == {"name": name, "ready": True}


def test_an_event_is_answered_with_an_event(shared):
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "test",
        "ce-type": "request",
        "Content-Type": "application/json",
    }

    answer = requests.post(
        f"{shared.inference}/v1/models/echo:predict",
        data=b'{"instances": [1]}',
        headers=headers,
        timeout=10,
    )

    assert answer.json() == {"instances": [1]}
    assert answer.headers["ce-id"] == "e-1"
    assert answer.headers["ce-type"] == "io.kserve.inference.response"
    assert answer.headers["ce-source"] == "io.kserve.inference.echo"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/models/none", "/v1/models/none:predict", "/v1/none"])
def test_errors_say_why_where_kserve_s_clients_look(shared, path):
    method = "POST" if path.endswith("predict") else "GET"

    answer = requests.request(method, f"{shared.inference}{path}", timeout=10)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == answer.json()["message"]
