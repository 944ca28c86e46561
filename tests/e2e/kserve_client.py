"""Asks a server by the clients of the package `kserve`, and prints what they say, as JSON.

Run by the Python of an environment with that package, which asks for other versions of libraries than
tsl's: ``python kserve_client.py HTTP_URL GRPC_ADDRESS``. `test_kserve_clients` knows the answers.
"""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(model, *, binary=True):
    """A tensor of each kind."""
    inputs = []
    for name, datatype, array in (
        ("x", "FP32", np.array([[1.5, -2.0]], np.float32)),
        ("text", "BYTES", np.array([b"one", b"two"], object)),
        ("flags", "BOOL", np.array([True, False])),
    ):
        made = InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, binary_data=binary)
        inputs.append(made)
    return InferRequest(
        infer_inputs=inputs, model_name=model, request_id="mine", parameters={"describe": True}
    )


def plain(value):
    """Nested lists without bytes; the client decodes those of some answers itself."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def told(response):
    """What an answer says."""
    return {
        "id": response.id,
        "model": response.model_name,
        "outputs": {each.name: plain(each.as_numpy().tolist()) for each in response.outputs},
    }


async def refusal(call):
    """The error of a call that must fail."""
    try:
        await call
    except httpx.HTTPStatusError as error:
        return [error.response.status_code, str(error)]
    except Exception as error:
        return [error.code().name, error.details()]
    return None


async def version_1(url):
    """The REST client in its first version."""
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    data = {"instances": [1, 2]}
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_model_ready(url, "echo"),
        "idle": await client.is_model_ready(url, "idle"),
        "predict": await client.infer(url, data, model_name="echo"),
        "explain": await client.explain(url, "echo", data),
        "unknown": await refusal(client.infer(url, data, model_name="nobody")),
        "unknown ready": await refusal(client.is_model_ready(url, "nobody")),
    }
    await client.close()
    return found


async def version_2(url):
    """The REST client in its second version."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model ready": await client.is_model_ready(url, "arrays"),
        "idle": await client.is_model_ready(url, "idle"),
        "binary": told(await client.infer(url, request("arrays"), model_name="arrays")),
        "json": told(await client.infer(url, request("arrays", binary=False), model_name="arrays")),
        "unknown": await refusal(client.infer(url, request("nobody"), model_name="nobody")),
    }
    await client.close()
    return found


async def over_grpc(address):
    """The gRPC client."""
    async with InferenceGRPCClient(address, retries=0) as client:
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model ready": await client.is_model_ready("arrays"),
            "idle": await client.is_model_ready("idle"),
            "raw": told(await client.infer(request("arrays"))),
            "typed": told(await client.infer(request("arrays", binary=False))),
            "unknown": await refusal(client.infer(request("nobody"))),
        }


async def main():
    """All of it."""
    url, address = sys.argv[1:]
    found = {
        "v1": await version_1(url),
        "v2": await version_2(url),
        "grpc": await over_grpc(address),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
