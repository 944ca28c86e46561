"""The work behind Ray Serve; run by its Python, configured by the environment."""

import signal
from collections.abc import Iterator

import ray
import work
from ray import serve
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

QUEUE = 4096
REPLICAS = work.setting("workers")


@serve.deployment(
    num_replicas=REPLICAS, max_ongoing_requests=QUEUE, ray_actor_options={"num_cpus": 0}
)
class One:
    """A call for each body."""

    def __init__(self) -> None:
        self._function = work.function()

    async def __call__(self, request: Request) -> Response:
        """The answer."""
        return Response(self._function([await request.body()])[0])


@serve.deployment(
    num_replicas=REPLICAS, max_ongoing_requests=QUEUE, ray_actor_options={"num_cpus": 0}
)
class Batch:
    """A call for several."""

    def __init__(self) -> None:
        self._function = work.function()

    @serve.batch(
        max_batch_size=work.setting("batch"), batch_wait_timeout_s=work.setting("delay_ms") / 1000
    )
    async def _call(self, bodies: list[bytes]) -> list[bytes]:
        return self._function(bodies)

    async def __call__(self, request: Request) -> Response:
        """The answer."""
        return Response(await self._call(await request.body()))


@serve.deployment(
    num_replicas=REPLICAS, max_ongoing_requests=QUEUE, ray_actor_options={"num_cpus": 0}
)
class Stream:
    """As many chunks as the body says."""

    async def __call__(self, request: Request) -> StreamingResponse:
        """All chunks."""
        count = int(await request.body())
        return StreamingResponse(self._chunks(count), media_type="text/plain")

    @staticmethod
    def _chunks(count: int) -> Iterator[str]:
        for _ in range(count):
            yield work.TEXT


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": work.setting("port")})
    several = work.setting("batch") > 1
    kind = Stream if work.work() == "stream" else Batch if several else One
    try:
        serve.run(kind.bind(), route_prefix="/predict")
        signal.pause()
    except KeyboardInterrupt:
        ray.shutdown()
