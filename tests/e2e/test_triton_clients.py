"""Every call of Triton's four client libraries: what it does here, or that it is refused clearly."""

import asyncio
import base64
import inspect
import json
from contextlib import AsyncExitStack

import numpy as np
import pytest
import requests
import tritonclient.grpc as over_grpc
import tritonclient.grpc.aio as over_grpc_aio
import tritonclient.http as over_http
import tritonclient.http.aio as over_http_aio
from serving import RunningServer, workers
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.e2e

X = np.arange(4000, dtype=np.float32)
LIBRARIES = {
    "http": over_http,
    "http.aio": over_http_aio,
    "grpc": over_grpc,
    "grpc.aio": over_grpc_aio,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("clients"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "ts_open_inference_protocol": "true",
    }
    tensors = workers(1, maxBatchDelay=1, inputFormat="tensors")
    declared = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    running.add("arrays", "arrays", **tensors, **declared)
    running.add("talking", "talking", **tensors)
    running.add("later", "arrays", **tensors)
    try:
        running.start("arrays.mar talking.mar")
        yield running
        running.stop()
    finally:
        running.close()


class Triton:
    """One library's clients of both ports; its calls are awaited if it is an asynchronous one."""

    def __init__(self, kind, server):
        self.library = LIBRARIES[kind]
        self.is_grpc = kind.startswith("grpc")
        self.options = {"headers": {"x-mine": "1"}}
        if self.is_grpc:
            output = server.output().splitlines()
            line = next(line for line in output if line.startswith("  gRPC "))
            self.addresses = line.split(None, 1)[1].split(", ")
            self.options["client_timeout"] = 30
        else:
            self.addresses = [
                url.removeprefix("http://") for url in (server.inference, server.management)
            ]

    def run(self, scenario):
        """Run ``scenario(call, manage)``, coroutine functions for calls on either port."""

        async def all_of_it():
            async with AsyncExitStack() as stack:
                clients = [self.library.InferenceServerClient(each) for each in self.addresses]
                for client in clients:
                    if hasattr(client, "__aenter__"):
                        await stack.enter_async_context(client)
                    else:
                        stack.enter_context(client)
                return await scenario(*map(self._caller, clients))

        return asyncio.run(all_of_it())

    def _caller(self, client):
        async def call(method, *arguments, **options):
            answer = getattr(client, method)(*arguments, **self.options | options)
            return self._plain(await answer if inspect.isawaitable(answer) else answer)

        return call

    def _plain(self, answer):
        if hasattr(answer, "DESCRIPTOR"):
            pytest.fail("ask with as_json")
        return answer

    @property
    def as_json(self):
        return {"as_json": True} if self.is_grpc else {}

    def tensor(self, name, array, datatype):
        made = self.library.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made


@pytest.fixture(params=list(LIBRARIES))
def triton(request, server):
    return Triton(request.param, server)


def test_the_server_and_its_models_are_described(triton):
    async def scenario(call, _):
        as_json = triton.as_json
        server = await call("get_server_metadata", **as_json)
        model = await call("get_model_metadata", "arrays", "1.0", **as_json)
        config = await call("get_model_config", "arrays", **as_json)
        statistics = await call("get_inference_statistics", "arrays", "1.0", **as_json)
        everything = await call("get_inference_statistics", **as_json)
        assert await call("is_server_live")
        assert await call("is_server_ready")
        assert await call("is_model_ready", "arrays", "1.0")
        return server, model, config, statistics, everything

    server, model, config, statistics, everything = triton.run(scenario)

    assert {"classification", "logging", "sequence", "statistics"} <= set(server["extensions"])
    assert (model["name"], model["versions"]) == ("arrays", ["1.0"])
    assert config.get("config", config)["input"][0]["data_type"] == "TYPE_FP32"
    assert statistics["model_stats"][0]["name"] == "arrays"
    assert {each["name"] for each in everything["model_stats"]} == {"arrays", "talking"}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_tensors_may_be_compressed(triton, coding):
    keys = (
        ("compression_algorithm",)
        if triton.is_grpc
        else ("request_compression_algorithm", "response_compression_algorithm")
    )

    async def scenario(call, _):
        inputs = [triton.tensor("x", X, "FP32")]
        return await call("infer", "arrays", inputs, **dict.fromkeys(keys, coding))

    assert triton.run(scenario).as_numpy("x").tobytes() == X.tobytes()


def test_options_of_a_request_are_taken(triton):
    async def scenario(call, _):
        return await call(
            "infer",
            "arrays",
            [triton.tensor("x", X, "FP32")],
            model_version="1.0",
            outputs=[triton.library.InferRequestedOutput("about")],
            request_id="mine",
            sequence_id=7,
            sequence_start=True,
            sequence_end=True,
            priority=2,
            timeout=20_000_000,
            parameters={"describe": True},
        )

    result = triton.run(scenario)

    assert result.as_numpy("about").tolist() == [b"x float32 (4000,)"]
    assert result.as_numpy("x") is None


def test_the_time_of_a_client_ends_its_request(triton):
    sleep = np.array([1000], np.int64)
    limit = {"client_timeout": 0.2} if triton.is_grpc else {"timeout": 200_000}

    async def scenario(call, _):
        inputs = [triton.tensor("sleep_ms", sleep, "INT64")]
        with pytest.raises(InferenceServerException) as caught:
            await call("infer", "talking", inputs, **limit)
        assert await call("is_server_ready")
        return str(caught.value).lower()

    assert "deadline" in triton.run(scenario)


def test_the_repository(triton):
    as_json = triton.as_json

    async def names(call):
        index = await call("get_model_repository_index", **as_json)
        return {each["name"] for each in (index["models"] if triton.is_grpc else index)}

    async def scenario(call, manage):
        assert await names(call) == {"arrays", "talking"}
        assert await names(manage) == {"arrays", "talking", "later"}
        await manage("load_model", "later")
        assert await call("is_model_ready", "later")
        await manage("unload_model", "later", unload_dependents=True)
        assert await names(call) == {"arrays", "talking"}

    triton.run(scenario)


def test_what_cannot_be_is_refused_with_a_reason(triton):
    async def scenario(call, manage):
        texts = []
        for ask, method, arguments, options in (
            (manage, "load_model", ["later"], {"config": "{}"}),
            (manage, "load_model", ["later"], {"config": "{}", "files": {"file:1/m.py": b"x"}}),
            (manage, "load_model", ["nothing"], {}),
            (manage, "unload_model", ["nothing"], {}),
            (call, "load_model", ["later"], {}),
            (call, "unload_model", ["arrays"], {}),
            (call, "update_log_settings", [{"log_info": False}], {}),
            (call, "update_trace_settings", [None, {"trace_rate": "5"}], {}),
            (manage, "update_trace_settings", ["arrays", {"trace_level": ["TIMESTAMPS"]}], {}),
            (call, "get_trace_settings", ["nothing"], {}),
        ):
            with pytest.raises(InferenceServerException) as caught:
                await ask(method, *arguments, **options)
            texts.append(caught.value.message())
        return texts

    config, files, *rest = triton.run(scenario)

    assert "config" in config
    assert "file:1/m.py" in files
    for text, part in zip(
        rest,
        ("nothing", "nothing", *["another port"] * 4, "no traces", "nothing"),
        strict=True,
    ):
        assert part in text


def test_settings_can_be_read_and_changed(triton):
    async def scenario(call, manage):
        as_json = triton.as_json
        await manage("update_log_settings", {"log_error": True, "log_verbose_level": 0}, **as_json)
        log = await call("get_log_settings", **as_json)
        trace = await call("get_trace_settings", "arrays", **as_json)
        return log, trace

    log, trace = triton.run(scenario)

    assert log.get("settings", log)["log_error"] in (True, {"bool_param": True})
    assert trace.get("settings", trace)["trace_level"] in (["OFF"], {"value": ["OFF"]})


def test_a_stream_without_callbacks(server):
    triton = Triton("grpc.aio", server)
    text = np.array([b"one two"], object)

    async def scenario():
        async with over_grpc_aio.InferenceServerClient(triton.addresses[0]) as client:

            async def requests():
                for number in range(2):
                    yield {
                        "model_name": "talking",
                        "inputs": [triton.tensor("text_input", text, "BYTES")],
                        "request_id": str(number),
                    }

            found = []
            async for result, error in client.stream_infer(requests(), stream_timeout=20):
                assert error is None
                word = result.as_numpy("text_output").item()
                found.append((result.get_response().id, word))
            return found

    found = asyncio.run(scenario())

    for number in ("0", "1"):
        assert [word for each, word in found if each == number] == [b"one ", b"two "]


# -- without a client


def test_a_body_may_be_nothing_but_a_tensor(server):
    answer = requests.post(
        f"{server.inference}/v2/models/arrays/infer",
        data=X.tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
        timeout=20,
    )

    length = int(answer.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("x", "FP32", [4000])
    assert answer.content[length:] == X.tobytes()


def test_models_are_listed_by_name(server):
    answer = requests.get(f"{server.inference}/v2/models", timeout=20)

    assert answer.json() == {"models": ["arrays", "talking"]}


def test_files_of_a_load_are_not_looked_at(server):
    parameters = {"config": "{}", "file:a": base64.b64encode(b"x").decode()}

    answer = requests.post(
        f"{server.management}/v2/repository/models/later/load",
        json={"parameters": parameters},
        timeout=20,
    )

    assert answer.status_code == 501
    assert "file:a" in answer.json()["error"]
