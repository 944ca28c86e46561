"""Calls every method of every service by generated stubs, and prints the answers, as JSON.

Run in a process of its own, ``python generated_client.py FOLDER INFERENCE MANAGEMENT``: the stubs in the
folder have the names of the server's own modules, and protobuf has one registry of names.
"""

import json
import sys

import grpc
from google.protobuf.empty_pb2 import Empty

sys.path.insert(0, sys.argv[1])

import inference_pb2 as i
import inference_pb2_grpc
import kserve_pb2
import kserve_pb2_grpc
import management_pb2 as m
import management_pb2_grpc
import open_inference_pb2
import open_inference_pb2_grpc

LIMIT = {"timeout": 30}


def inference(channel):
    """TorchServe's inference service."""
    stub = inference_pb2_grpc.InferenceAPIsServiceStub(channel)
    order = {"data": json.dumps({"pieces": 2}).encode()}
    request = i.PredictionsRequest(model_name="plain", model_version="1.0", input=order)
    messages = [
        i.PredictionsRequest(model_name=name, input={"data": b"{}"}, sequence_id=f"of {name}")
        for name in ("plain", "nobody")
    ]
    answers = {each.sequence_id: each for each in stub.StreamPredictions2(iter(messages), **LIMIT)}
    failed = answers["of nobody"]
    return {
        "Ping": json.loads(stub.Ping(Empty(), **LIMIT).health),
        "Predictions": stub.Predictions(request, **LIMIT).prediction.decode()[:14],
        "StreamPredictions": [
            each.prediction.decode()[:7] for each in stub.StreamPredictions(request, **LIMIT)
        ],
        "StreamPredictions2": [
            answers["of plain"].HasField("status"),
            failed.HasField("status"),
            failed.status.code,
            failed.status.message,
        ],
    }


def management(channel):
    """TorchServe's management service."""
    stub = management_pb2_grpc.ManagementAPIsServiceStub(channel)

    def said(method, **fields):
        request = getattr(m, f"{method}Request")(**fields)
        return getattr(stub, method)(request, **LIMIT).msg

    return {
        "RegisterModel": said(
            "RegisterModel", url="extra.mar", initial_workers=1, synchronous=True, batch_size=3
        ),
        "ListModels": sorted(
            each["modelName"] for each in json.loads(said("ListModels", limit=10))["models"]
        ),
        "ScaleWorker": said("ScaleWorker", model_name="extra", min_worker=2, synchronous=True),
        "DescribeModel": json.loads(said("DescribeModel", model_name="extra", model_version="1.0"))[
            0
        ]["batchSize"],
        "SetDefault": said("SetDefault", model_name="extra", model_version="1.0"),
        "UnregisterModel": said("UnregisterModel", model_name="extra", model_version="1.0"),
    }


def open_inference(channel, pb, grpc_module):
    """The Open Inference Protocol, in one of its packages."""
    stub = grpc_module.GRPCInferenceServiceStub(channel)
    request = pb.ModelInferRequest(model_name="arrays", id="mine")
    tensor = request.inputs.add(name="x", datatype="UINT64", shape=[2])
    tensor.contents.uint64_contents.extend([1, 2**64 - 1])
    request.parameters["describe"].bool_param = True
    typed = stub.ModelInfer(request, **LIMIT)
    del tensor.contents.uint64_contents[:]
    tensor.ClearField("contents")
    request.raw_input_contents.append(b"\1" + bytes(15))
    raw = stub.ModelInfer(request, **LIMIT)
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="arrays"), **LIMIT)
    return {
        "ServerLive": stub.ServerLive(pb.ServerLiveRequest(), **LIMIT).live,
        "ServerReady": stub.ServerReady(pb.ServerReadyRequest(), **LIMIT).ready,
        "ModelReady": stub.ModelReady(pb.ModelReadyRequest(name="arrays"), **LIMIT).ready,
        "ServerMetadata": stub.ServerMetadata(pb.ServerMetadataRequest(), **LIMIT).name,
        "ModelMetadata": [
            metadata.name,
            list(metadata.versions),
            [[each.name, each.datatype, list(each.shape)] for each in metadata.inputs],
        ],
        "ModelInfer": [
            typed.id,
            {each.name: each.datatype for each in typed.outputs},
            list(typed.outputs[0].contents.uint64_contents),
            [each.hex() for each in raw.raw_output_contents[:1]],
        ],
    }


with grpc.insecure_channel(sys.argv[2]) as first, grpc.insecure_channel(sys.argv[3]) as second:
    print(
        json.dumps(
            {
                "inference": inference(first),
                "management": management(second),
                "torchserve": open_inference(first, open_inference_pb2, open_inference_pb2_grpc),
                "kserve": open_inference(first, kserve_pb2, kserve_pb2_grpc),
            }
        )
    )
