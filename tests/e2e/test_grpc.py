"""The gRPC APIs as a client of TorchServe uses them."""

import json
import threading

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving import RunningServer, eventually, workers

from tsl.frontend.grpc_api.protos import inference_pb2, management_pb2

pytestmark = pytest.mark.e2e

INFERENCE = "org.pytorch.serve.grpc.inference.InferenceAPIsService"
MANAGEMENT = "org.pytorch.serve.grpc.management.ManagementAPIsService"


class Client:
    """Stubs made from the services' descriptors, as generated code makes them."""

    def __init__(self, address, module, service):
        self.channel = grpc.insecure_channel(address)
        for method in module.DESCRIPTOR.services_by_name[service].methods:
            kind = "_".join(
                "stream" if streams else "unary"
                for streams in (method.client_streaming, method.server_streaming)
            )
            stub = getattr(self.channel, kind)(
                f"/{method.containing_service.full_name}/{method.name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=_class_of(method.output_type, module).FromString,
            )
            setattr(self, method.name, stub)


def _class_of(descriptor, module):
    return getattr(module, descriptor.name)


def ask(name="plain", version="", **order):
    return inference_pb2.PredictionsRequest(
        model_name=name, model_version=version, input={"data": json.dumps(order).encode()}
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("grpc"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "max_request_size": "100000",
        "disable_token_authorization": "false",
    }
    running.add("plain", "undecoded", **workers(1, maxBatchDelay=1))
    try:
        running.launch()
        running.wait_started()
        yield running
        running.send_signal()
        assert running.wait_ended() == 0
    finally:
        running.close()


@pytest.fixture(scope="module")
def addresses(server):
    line = next(line for line in server.output().splitlines() if line.startswith("  gRPC "))
    return line.split(None, 1)[1].split(", ")


@pytest.fixture(scope="module")
def key(server):
    keys = json.loads((server.folder / "key_file.json").read_text())
    return lambda name: {"metadata": (("authorization", f"Bearer {keys[name]['key']}"),)}


@pytest.fixture(scope="module")
def client(addresses, key):
    made = Client(addresses[0], inference_pb2, "InferenceAPIsService")
    health = health_pb2_grpc.HealthStub(made.channel)
    request = health_pb2.HealthCheckRequest()
    eventually(lambda: health.Check(request).status == 1, "the model is ready", 30)
    with made.channel:
        yield made


@pytest.fixture(scope="module")
def manager(addresses):
    made = Client(addresses[1], management_pb2, "ManagementAPIsService")
    with made.channel:
        yield made


@pytest.fixture
def mine(key):
    return {"timeout": 20, **key("inference")}


@pytest.fixture
def chief(key):
    return {"timeout": 20, **key("management")}


def status_of(call, *arguments, **options):
    def complete():
        answer = call(*arguments, **options)
        if hasattr(answer, "__next__"):
            list(answer)

    with pytest.raises(grpc.RpcError) as caught:
        complete()
    return caught.value.code().name


# -- inference


def test_a_prediction_is_the_handler_s_answer(client, mine):
    answer = json.loads(client.Predictions(ask(), **mine).prediction)

    assert answer["names"] == ["data"]
    assert "explain" not in answer["headers"]  # nothing of HTTP, and no metadata


def test_ping(client, mine):
    assert json.loads(client.Ping(Empty(), **mine).health) == {"status": "Healthy"}


def test_a_stream_comes_in_pieces(client, mine):
    pieces = [r.prediction for r in client.StreamPredictions(ask(pieces=200), **mine)]

    assert pieces[:-1] == [b"piece %d" % n for n in range(200)]
    assert b"names" in pieces[-1]


def test_a_handler_that_does_not_stream_answers_a_call_for_a_stream_once(client, mine):
    assert len(list(client.StreamPredictions(ask(), **mine))) == 1


def test_a_stream_is_joined_for_a_call_for_one_answer(client, mine):
    assert client.Predictions(ask(pieces=2), **mine).prediction.startswith(b"piece 0piece 1{")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (inference_pb2.PredictionsRequest(), "INVALID_ARGUMENT"),
        (ask("nobody"), "NOT_FOUND"),
        (ask(version="9.9"), "NOT_FOUND"),
        (ask(**{"raise": 404}), "NOT_FOUND"),
        (ask(**{"raise": 413}), "RESOURCE_EXHAUSTED"),
        (ask(sleep="x"), "UNAVAILABLE"),
        (ask(padding="x" * 200_000), "RESOURCE_EXHAUSTED"),
    ],
    ids=["no name", "no model", "no version", "404", "413", "a failing handler", "too large"],
)
def test_errors_have_their_status(client, mine, request_, status):
    assert status_of(client.Predictions, request_, **mine) == status
    assert status_of(client.StreamPredictions, request_, **mine) == status


def test_a_bidirectional_stream_answers_each_message_and_errors_among_them(client, mine):
    def requests():
        for name in ("plain", "nobody", "plain"):
            request = ask(name)
            request.sequence_id = name
            yield request
        yield ask()

    answers = list(client.StreamPredictions2(requests(), **mine))

    by_id = {}
    for answer in answers:
        by_id.setdefault(answer.sequence_id, []).append(answer)
    assert [a.status.code for a in by_id["nobody"]] == [grpc.StatusCode.NOT_FOUND.value[0]]
    assert [a.status.code for a in by_id[""]] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]]
    assert len(by_id["plain"]) == 2
    headers = json.loads(by_id["plain"][0].prediction)["headers"]
    assert headers["ts_request_sequence_id"] == "plain"


def test_a_deadline_withdraws_the_job(client, server, mine, tmp_path):
    note = tmp_path / "note"
    blocker = client.Predictions.future(ask(sleep=1, note=str(note)), **mine)
    eventually(note.exists, "the worker is busy")
    late = tmp_path / "late"

    status = status_of(client.Predictions, ask(note=str(late)), **{**mine, "timeout": 0.2})

    assert status == "DEADLINE_EXCEEDED"
    assert blocker.result()
    assert client.Predictions(ask(), **mine)
    assert not late.exists()


def test_a_cancelled_stream_stops_its_handler_and_not_its_worker(
    client, manager, mine, chief, tmp_path
):
    note = tmp_path / "note"
    before = worker_pids(manager, chief)
    call = client.StreamPredictions(ask(endless=True, note=str(note)), **mine)
    next(call)

    call.cancel()

    eventually(lambda: note.read_text() == "ClientDisconnected", "the handler was told")
    assert client.Predictions(ask(), **mine)
    assert worker_pids(manager, chief) == before


def worker_pids(manager, chief):
    request = management_pb2.DescribeModelRequest(model_name="plain")
    (document,) = json.loads(manager.DescribeModel(request, **chief).msg)
    return [worker["pid"] for worker in document["workers"]]


def test_many_calls_at_once_are_each_answered(client, mine):
    answers = []

    def run():
        answers.extend(client.Predictions(ask(), **mine).prediction for _ in range(25))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(answers) == 200


# -- tokens


def test_each_listener_wants_its_own_key(client, manager, key):
    request = management_pb2.ListModelsRequest()

    assert status_of(client.Ping, Empty()) == "PERMISSION_DENIED"
    assert status_of(client.Ping, Empty(), **key("management")) == "PERMISSION_DENIED"
    assert status_of(manager.ListModels, request, **key("inference")) == "PERMISSION_DENIED"
    assert status_of(client.StreamPredictions, ask()) == "PERMISSION_DENIED"


# -- management


def test_the_life_of_a_model(manager, client, chief, mine, server):
    source = server.store / "plain.mar"
    (server.store / "other.mar").write_bytes(source.read_bytes())
    pb = management_pb2

    registered = manager.RegisterModel(
        pb.RegisterModelRequest(
            url="other.mar", model_name="other", initial_workers=1, synchronous=True
        ),
        **chief,
    )
    assert "registered with 1 initial workers" in registered.msg
    assert client.Predictions(ask("other"), **mine)
    described = json.loads(
        manager.DescribeModel(pb.DescribeModelRequest(model_name="other"), **chief).msg
    )
    assert described[0]["minWorkers"] == 1
    listed = json.loads(manager.ListModels(pb.ListModelsRequest(), **chief).msg)
    assert [model["modelName"] for model in listed["models"]] == ["other", "plain"]
    page = json.loads(manager.ListModels(pb.ListModelsRequest(limit=1), **chief).msg)
    assert page["nextPageToken"] == "1"
    scaled = manager.ScaleWorker(
        pb.ScaleWorkerRequest(model_name="other", min_worker=0, max_worker=0, synchronous=True),
        **chief,
    )
    assert "scaled to 0" in scaled.msg
    default = pb.SetDefaultRequest(model_name="other", model_version="1.0")
    assert "successfully" in manager.SetDefault(default, **chief).msg
    gone = manager.UnregisterModel(pb.UnregisterModelRequest(model_name="other"), **chief)
    assert "unregistered" in gone.msg


@pytest.mark.parametrize(
    ("method", "request_", "status"),
    [
        ("RegisterModel", management_pb2.RegisterModelRequest(), "INVALID_ARGUMENT"),
        ("RegisterModel", management_pb2.RegisterModelRequest(url="no.mar"), "NOT_FOUND"),
        ("RegisterModel", management_pb2.RegisterModelRequest(url="plain.mar"), "ABORTED"),
        ("DescribeModel", management_pb2.DescribeModelRequest(), "INVALID_ARGUMENT"),
        ("DescribeModel", management_pb2.DescribeModelRequest(model_name="x"), "NOT_FOUND"),
        ("UnregisterModel", management_pb2.UnregisterModelRequest(), "INVALID_ARGUMENT"),
        ("UnregisterModel", management_pb2.UnregisterModelRequest(model_name="x"), "NOT_FOUND"),
        ("SetDefault", management_pb2.SetDefaultRequest(model_name="plain"), "INVALID_ARGUMENT"),
        (
            "ScaleWorker",
            management_pb2.ScaleWorkerRequest(model_name="plain", min_worker=2, max_worker=1),
            "INVALID_ARGUMENT",
        ),
    ],
)
def test_management_errors_have_their_status(manager, chief, method, request_, status):
    assert status_of(getattr(manager, method), request_, **chief) == status


# -- what gRPC's own tools ask


def test_health_by_service(client):
    health = health_pb2_grpc.HealthStub(client.channel)

    assert health.Check(health_pb2.HealthCheckRequest(service=INFERENCE)).status == 1
    assert status_of(health.Check, health_pb2.HealthCheckRequest(service="x")) == "NOT_FOUND"
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == 1
    watch.cancel()


def test_reflection_names_the_services(client):
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    answer = next(iter(stub.ServerReflectionInfo(iter([request]), timeout=10)))

    names = {service.name for service in answer.list_services_response.service}
    assert INFERENCE in names
    assert "grpc.health.v1.Health" in names


def test_calls_are_in_the_access_log(client, server, mine):
    client.Ping(Empty(), **mine)

    line = f'"gRPC {INFERENCE}/Ping HTTP/2.0" 0 '
    eventually(lambda: line in server.log("access_log.log"), "the line is there")
