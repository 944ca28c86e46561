"""What the transport of gRPC owes to present clients: TLS, compression, size, many at once, its end."""

import asyncio
import json
import socket
import threading
from pathlib import Path

import grpc
import pytest
from certificates import Identity
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving import RunningServer, eventually, workers

from tsl.frontend.grpc_api.protos import inference_pb2, management_pb2

pytestmark = pytest.mark.e2e

PREDICT = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
LIST = "/org.pytorch.serve.grpc.management.ManagementAPIsService/ListModels"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
BIG = bytes(range(256)) * 12_000  # 3 MB


class SecureServer(RunningServer):
    """A server whose gRPC ports speak TLS, and whose management connections do not get old."""

    def __init__(self, folder):
        super().__init__(folder)
        key, certificate = Identity(folder).write_pem()
        self.properties |= {
            "enable_grpc": "true",
            "enable_grpc_ssl": "true",
            "private_key_file": key,
            "certificate_file": certificate,
            "grpc_inference_port": "0",
            "grpc_management_port": "0",
            "grpc_management_max_connection_age_ms": "300",
        }
        self.credentials = grpc.ssl_channel_credentials(Path(certificate).read_bytes())
        self.add("echo", "echo", **workers(1, maxBatchDelay=1))
        self.add("plain", "undecoded", **workers(1, maxBatchDelay=1))

    @property
    def addresses(self):
        line = next(line for line in self.output().splitlines() if line.startswith("  gRPC "))
        return line.split(None, 1)[1].split(", ")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = SecureServer(tmp_path_factory.mktemp("grpcs"))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture
def channel(server):
    with grpc.secure_channel(server.addresses[0], server.credentials, OPTIONS) as made:
        yield made


def predict(channel):
    return channel.unary_unary(
        PREDICT,
        request_serializer=inference_pb2.PredictionsRequest.SerializeToString,
        response_deserializer=inference_pb2.PredictionResponse.FromString,
    )


def ask(data, name="echo"):
    return inference_pb2.PredictionsRequest(model_name=name, input={"data": data})


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 70_000, len(BIG)])
def test_messages_of_any_size_come_back_whole(channel, size):
    assert predict(channel)(ask(BIG[:size]), timeout=30).prediction == BIG[:size]


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_come_back_whole(channel, coding):
    answer = predict(channel)(ask(BIG), timeout=30, compression=coding)

    assert answer.prediction == BIG


def test_many_calls_at_once_on_one_connection(server):
    async def run():
        async with aio.secure_channel(server.addresses[0], server.credentials, OPTIONS) as channel:
            call = predict(channel)
            answers = await asyncio.gather(
                *(call(ask(b"%d" % n * 500), timeout=60) for n in range(90))
            )
            return [answer.prediction for answer in answers]

    assert asyncio.run(run()) == [b"%d" % n * 500 for n in range(90)]


def test_large_messages_of_many_calls_on_one_connection(server):
    async def run():
        async with aio.secure_channel(server.addresses[0], server.credentials, OPTIONS) as channel:
            call = predict(channel)
            bodies = [BIG[n : n + 1_000_000] for n in range(20)]
            answers = await asyncio.gather(*(call(ask(body), timeout=60) for body in bodies))
            return [answer.prediction for answer in answers] == bodies

    assert asyncio.run(run())


def test_calls_go_on_while_old_connections_are_replaced(server):
    with grpc.secure_channel(server.addresses[1], server.credentials) as channel:
        call = channel.unary_unary(
            LIST,
            request_serializer=management_pb2.ListModelsRequest.SerializeToString,
            response_deserializer=management_pb2.ManagementResponse.FromString,
        )
        peers = set()

        def look():
            _, info = call.with_call(management_pb2.ListModelsRequest(), timeout=20)
            assert info.code() is grpc.StatusCode.OK
            lines = server.log("access_log.log").splitlines()
            peers.update(line.split(' "')[0] for line in lines if "ListModels" in line)
            return len(peers) > 2

        eventually(look, "the client has used three connections", 30)


@pytest.mark.parametrize("text", [b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", b"hello\r\n\r\n"])
def test_who_speaks_something_else_is_disconnected(server, text):
    host, port = server.addresses[0].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall(text)
        data = b""
        while piece := sock.recv(1000):
            data += piece

    assert data.startswith(b"HTTP/1.1 4")  # it is no TLS


def test_a_stop_answers_the_calls_that_run_and_ends_the_watches(tmp_path):
    server = SecureServer(tmp_path)
    server.properties["enable_grpc_ssl"] = "false"
    try:
        server.start()
        with grpc.insecure_channel(server.addresses[0]) as channel:
            note, answers = tmp_path / "note", []
            order = json.dumps({"sleep": 1, "note": str(note)}).encode()
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == 1
            running = threading.Thread(
                target=lambda: answers.append(predict(channel)(ask(order, "plain"), timeout=30))
            )
            running.start()
            eventually(note.exists, "the handler runs")
            server.send_signal()
            assert [each.status for each in watch] == [2]  # it serves no more, and that is all
            running.join(30)
            assert b"names" in answers[0].prediction
            assert server.wait_ended() == 0
            with pytest.raises(grpc.RpcError) as caught:
                predict(channel)(ask(b"", "plain"), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        server.close()
