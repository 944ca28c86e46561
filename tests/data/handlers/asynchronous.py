"""A coroutine handler; many calls are in it at a time.

The body is JSON: ``{"meet": n}`` waits until so many calls that meet are here, ``{"sleep": s}``
sleeps, ``{"stream": n}`` streams, ``{"fail": true}`` raises. With a note, what becomes of the call
is written there; with a gate, it waits until that file exists.
"""

import asyncio
from pathlib import Path

from ts.handler_utils.utils import send_intermediate_predict_response


class Asynchronous:
    def initialize(self, context):
        loop = asyncio.get_event_loop()
        self.loop = loop
        self.ready = loop.run_until_complete(self.prepare())
        self.arrivals = asyncio.Condition()
        self.here = 0
        context.calls = 0

    async def prepare(self):
        await asyncio.sleep(0)
        return True

    async def handle(self, data, context):
        assert self.ready
        assert asyncio.get_running_loop() is self.loop
        (row,) = data
        order = row["body"]
        context.calls += 1
        note = Path(order["note"]) if "note" in order else None
        try:
            if note:
                note.write_text("began")
            if "meet" in order:
                await self.meet(order["meet"])
            while "gate" in order and not Path(order["gate"]).exists():  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.01)
            await asyncio.sleep(order.get("sleep", 0))
            if order.get("fail"):
                raise ValueError("failed as asked")
            for number in range(order.get("stream", 0)):
                send_intermediate_predict_response(
                    [f"{number} "], context.request_ids, "ok", 200, context
                )
                await asyncio.sleep(order.get("pause", 0))
            if note:
                note.write_text("done")
        except asyncio.CancelledError:
            if note:
                note.write_text("cancelled")
            raise
        if "stream" in order:
            return ["end"]
        return [{"calls": context.calls, "id": context.get_request_id(0)}]

    async def meet(self, count):
        async with self.arrivals:
            self.here += 1
            self.arrivals.notify_all()
            await self.arrivals.wait_for(lambda: self.here >= count)
