"""Counts up to the number in the body, one number per step; notes the size of each step.

The body is JSON: ``{"count": n, "note": path, "gate": path, "fail": true}``. With a gate, no step
ends before that file exists. What a request has got so far lies in ``context.cache``.
"""

import time
from pathlib import Path


class Tokens:
    def initialize(self, context):
        context.cache = {}

    def handle(self, data, context):
        cache = context.cache
        ids = list(context.request_ids.values())
        for gone in cache.keys() - set(ids):
            del cache[gone]
        for request_id, row in zip(ids, data, strict=True):
            if request_id not in cache:
                cache[request_id] = {"order": row["body"], "sent": 0}
            else:
                assert row == {}, "a row that goes on has no values"
        states = [cache[request_id] for request_id in ids]
        for state in states:
            self.step(state, len(ids))
        context.stopping_criteria = [self.criterion(state) for state in states]
        return [f"{state['sent']}/{len(ids)} " for state in states]

    def step(self, state, size):
        order = state["order"]
        if "note" in order:
            with Path(order["note"]).open("a") as file:
                file.write(f"{size}\n")
        while "gate" in order and not Path(order["gate"]).exists():
            time.sleep(0.01)
        if order.get("fail") and state["sent"]:
            raise ValueError("failed as asked")
        time.sleep(order.get("pause", 0))
        state["sent"] += 1

    def criterion(self, state):
        count = state["order"].get("count")
        return lambda answer: None if count is None else state["sent"] >= count
