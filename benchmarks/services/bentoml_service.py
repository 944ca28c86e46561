"""The work behind BentoML; run by its Python, configured by the environment.

Its requests are JSON, so a body that is not text travels as base64.
"""

import base64
from collections.abc import Generator

import bentoml
import work

SIZE = work.setting("batch")


def _bytes(body: str) -> bytes:
    return base64.b64decode(body) if work.work() == "classify" else body.encode()


if work.work() == "stream":

    @bentoml.service(workers=work.setting("workers"))
    class Bench:
        """As many chunks as the body says."""

        @bentoml.api
        def predict(self, body: str) -> Generator[str, None, None]:
            """All chunks."""
            for _ in range(int(body)):
                yield work.TEXT

elif SIZE > 1:

    @bentoml.service(workers=work.setting("workers"), traffic={"timeout": 120})
    class Bench:  # type: ignore[no-redef]
        """A call for several bodies."""

        def __init__(self) -> None:
            self.function = work.function()

        @bentoml.api(batchable=True, max_batch_size=SIZE)
        def predict(self, body: list[str]) -> list[str]:
            """The answers."""
            return [each.decode() for each in self.function([_bytes(each) for each in body])]

else:

    @bentoml.service(workers=work.setting("workers"), traffic={"timeout": 120})
    class Bench:  # type: ignore[no-redef]
        """A call for each body."""

        def __init__(self) -> None:
            self.function = work.function()

        @bentoml.api
        def predict(self, body: str) -> str:
            """The answer."""
            return self.function([_bytes(body)])[0].decode()
