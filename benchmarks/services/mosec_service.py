"""The work behind mosec; run by its Python, configured by the environment."""

from typing import Any

import work
from mosec import Server, SSEWorker, Worker

ROUTE = "/predict"


class Bytes(Worker):
    """Bodies are what they are; mosec's default is JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._function = work.function()

    def deserialize(self, data: bytes) -> bytes:
        """As it came."""
        return data

    def serialize(self, data: bytes) -> bytes:
        """As it is."""
        return data

    def forward(self, data: Any) -> Any:
        """One body when the batch size is 1, else a list of them."""
        if isinstance(data, list):
            return self._function(data)
        return self._function([data])[0]


class Stream(SSEWorker):
    """As many chunks as the body says, as events."""

    def deserialize(self, data: bytes) -> bytes:
        """As it came."""
        return data

    def forward(self, data: Any) -> Any:
        """Send all chunks."""
        for _ in range(int(data)):
            self.send_stream_event(work.TEXT)
        return ""


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Stream if work.work() == "stream" else Bytes,
        num=work.setting("workers"),
        max_batch_size=work.setting("batch"),
        max_wait_time=work.setting("delay_ms"),
        route=ROUTE,
    )
    server.run()
