"""The work behind LitServe; run by its Python, configured by the environment.

LitServe reads JSON, so a body that is not text travels as base64.
"""

import base64
from collections.abc import Iterator
from typing import Any

import litserve
import work


class Api(litserve.LitAPI):
    """One answer for each body."""

    def setup(self, device: str) -> None:
        """Load the model."""
        del device
        self.function = work.function()

    def decode_request(self, request: dict[str, str]) -> bytes:
        """The body."""
        if work.work() == "classify":
            return base64.b64decode(request["body"])
        return request["body"].encode()

    def predict(self, x: Any) -> Any:
        """One body when the batch size is 1, else a list of them."""
        if isinstance(x, list):
            return self.function(x)
        return self.function([x])[0]

    def encode_response(self, output: bytes) -> dict[str, str]:
        """The answer."""
        return {"body": output.decode()}


class Stream(litserve.LitAPI):
    """As many chunks as the body says."""

    def setup(self, device: str) -> None:
        """There is no model."""

    def decode_request(self, request: dict[str, str]) -> int:
        """How many."""
        return int(request["body"])

    def predict(self, x: int) -> Iterator[str]:
        """All chunks."""
        for _ in range(x):
            yield work.TEXT

    def encode_response(self, output: Iterator[str]):  # noqa: ANN201  FastAPI would read it
        """As they are."""
        yield from output


if __name__ == "__main__":
    if work.work() == "stream":
        api: litserve.LitAPI = Stream(stream=True)
    else:
        size = work.setting("batch")
        api = Api(max_batch_size=size, batch_timeout=work.setting("delay_ms") / 1000)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=work.setting("workers"), timeout=120
    )
    server.run(
        host="127.0.0.1",
        port=work.setting("port"),
        generate_client_file=False,
        log_level="warning",
    )
