"""TorchServe's gRPC services as tables of facts, and `.proto` files made of them.

Written from what is seen on the wire of TorchServe 0.12, not from the `.proto` files of this project:
clients that are generated from them are clients of somebody else. An entry is
``number name type``; ``A.B`` is nested in ``A``.
"""

INFERENCE = "org.pytorch.serve.grpc.inference"
MANAGEMENT = "org.pytorch.serve.grpc.management"
OPEN_INFERENCE = ("org.pytorch.serve.grpc.openinference", "inference")

_PARAMETERS = "map<string, InferParameter>"
_TENSOR = f"1 name string; 2 datatype string; 3 shape repeated int64; 4 parameters {_PARAMETERS}"
_VERSIONED = "1 model_name string; 2 model_version string"
_NAMED = "1 name string; 2 version string"

MESSAGES = {
    "inference": {
        "PredictionsRequest": f"{_VERSIONED}; 3 input map<string, bytes>; "
        "4 sequence_id optional string",
        "PredictionResponse": "1 prediction bytes; 2 sequence_id optional string; "
        "3 status optional google.rpc.Status",
        "TorchServeHealthResponse": "1 health string",
    },
    "management": {
        "ManagementResponse": "1 msg string",
        "DescribeModelRequest": f"{_VERSIONED}; 3 customized bool",
        "ListModelsRequest": "1 limit int32; 2 next_page_token int32",
        "RegisterModelRequest": "1 batch_size int32; 2 handler string; 3 initial_workers int32; "
        "4 max_batch_delay int32; 5 model_name string; 6 response_timeout int32; "
        "7 runtime string; 8 synchronous bool; 9 url string; 10 s3_sse_kms bool; "
        "11 startup_timeout int32",
        "ScaleWorkerRequest": f"{_VERSIONED}; 3 max_worker int32; 4 min_worker int32; "
        "5 number_gpu int32; 6 synchronous bool; 7 timeout int32",
        "SetDefaultRequest": _VERSIONED,
        "UnregisterModelRequest": _VERSIONED,
    },
    "open_inference": {
        "ServerLiveRequest": "",
        "ServerLiveResponse": "1 live bool",
        "ServerReadyRequest": "",
        "ServerReadyResponse": "1 ready bool",
        "ModelReadyRequest": _NAMED,
        "ModelReadyResponse": "1 ready bool",
        "ServerMetadataRequest": "",
        "ServerMetadataResponse": f"{_NAMED}; 3 extensions repeated string",
        "ModelMetadataRequest": _NAMED,
        "ModelMetadataResponse": "1 name string; 2 versions repeated string; 3 platform string; "
        "4 inputs repeated TensorMetadata; 5 outputs repeated TensorMetadata",
        "ModelMetadataResponse.TensorMetadata": "1 name string; 2 datatype string; "
        "3 shape repeated int64",
        "InferParameter": "oneof parameter_choice: 1 bool_param bool; 2 int64_param int64; "
        "3 string_param string",
        "InferTensorContents": "1 bool_contents repeated bool; 2 int_contents repeated int32; "
        "3 int64_contents repeated int64; 4 uint_contents repeated uint32; "
        "5 uint64_contents repeated uint64; 6 fp32_contents repeated float; "
        "7 fp64_contents repeated double; 8 bytes_contents repeated bytes",
        "ModelInferRequest": f"{_VERSIONED}; 3 id string; 4 parameters {_PARAMETERS}; "
        "5 inputs repeated InferInputTensor; 6 outputs repeated InferRequestedOutputTensor; "
        "7 raw_input_contents repeated bytes",
        "ModelInferRequest.InferInputTensor": f"{_TENSOR}; 5 contents InferTensorContents",
        "ModelInferRequest.InferRequestedOutputTensor": f"1 name string; 2 parameters {_PARAMETERS}",
        "ModelInferResponse": f"{_VERSIONED}; 3 id string; 4 parameters {_PARAMETERS}; "
        "5 outputs repeated InferOutputTensor; 6 raw_output_contents repeated bytes",
        "ModelInferResponse.InferOutputTensor": f"{_TENSOR}; 5 contents InferTensorContents",
    },
}
SERVICES = {
    "inference": (
        "InferenceAPIsService",
        {
            "Ping": "google.protobuf.Empty → TorchServeHealthResponse",
            "Predictions": "PredictionsRequest → PredictionResponse",
            "StreamPredictions": "PredictionsRequest → stream PredictionResponse",
            "StreamPredictions2": "stream PredictionsRequest → stream PredictionResponse",
        },
    ),
    "management": (
        "ManagementAPIsService",
        {
            method: f"{method}Request → ManagementResponse"
            for method in (
                "DescribeModel",
                "ListModels",
                "RegisterModel",
                "ScaleWorker",
                "SetDefault",
                "UnregisterModel",
            )
        },
    ),
    "open_inference": (
        "GRPCInferenceService",
        {
            method: f"{method}Request → {method}Response"
            for method in (
                "ServerLive",
                "ServerReady",
                "ModelReady",
                "ServerMetadata",
                "ModelMetadata",
                "ModelInfer",
            )
        },
    ),
}


def proto_file(tables, package):
    """The text of a `.proto` file."""
    lines = [
        'syntax = "proto3";',
        f"package {package};",
        'import "google/protobuf/empty.proto";',
        'import "google/rpc/status.proto";',
    ]
    messages = MESSAGES[tables]
    for name in messages:
        if "." not in name:
            lines += _message(name, messages)
    service, methods = SERVICES[tables]
    lines.append(f"service {service} {{")
    for method, types in methods.items():
        request, response = types.split(" → ")
        lines.append(f"  rpc {method}({request}) returns ({response});")
    return "\n".join([*lines, "}", ""])


def _message(name, messages):
    lines = [f"message {name.rpartition('.')[2]} {{"]
    for nested in messages:
        if nested.rpartition(".")[0] == name:
            lines += _message(nested, messages)
    fields = messages[name]
    one_of, colon, members = fields.partition(": ")
    if colon:
        lines += [one_of, "{", *map(_field, members.split("; ")), "}"]
    elif fields:
        lines += map(_field, fields.split("; "))
    return [*lines, "}"]


def _field(entry):
    number, name, kind = entry.split(" ", 2)
    return f"  {kind} {name} = {number};"
