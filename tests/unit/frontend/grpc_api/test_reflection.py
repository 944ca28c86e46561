from __future__ import annotations

import pytest

from tsl.frontend.grpc_api.reflection import described_pool


@pytest.mark.parametrize(
    "package", ["inference", "org.pytorch.serve.grpc.openinference"], ids=["standard", "torchserve"]
)
def test_the_protocol_is_described_under_both_names(package):
    service = described_pool().FindServiceByName(f"{package}.GRPCInferenceService")

    request = service.methods_by_name["ModelInfer"].input_type
    assert request.full_name == f"{package}.ModelInferRequest"
    tensor = request.fields_by_name["inputs"].message_type
    assert tensor.full_name == f"{package}.ModelInferRequest.InferInputTensor"


@pytest.mark.parametrize(
    "name",
    [
        "org.pytorch.serve.grpc.inference.InferenceAPIsService",
        "org.pytorch.serve.grpc.management.ManagementAPIsService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    ],
)
def test_so_are_all_other_services(name):
    assert described_pool().FindServiceByName(name).full_name == name
