"""Micro-batches that stream to a part of the batch: request ids are a map of their own."""

from ts.handler_utils.micro_batching import MicroBatching
from ts.handler_utils.utils import import_class, send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class StreamerHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.initialized = False
        self.micro_batching = MicroBatching(self, micro_batch_size=2)
        self.handle = self.micro_batching

    def initialize(self, ctx):
        self.counter_class = import_class(class_name="Counter", module_prefix="collections")
        self.initialized = True

    def preprocess(self, requests):
        return [(row.get("data") or row.get("body")).decode("utf-8") for row in requests]

    def inference(self, texts):
        start = self.micro_batching.get_micro_batch_idx() * self.micro_batching.micro_batch_size
        ids = {}
        for index, request_id in self.context.request_ids.items():
            if start <= index < start + self.micro_batching.micro_batch_size:
                ids[index - start] = request_id
        for step in range(3):
            words = [f"{text[step % len(text)]}{step} " for text in texts]
            send_intermediate_predict_response(words, ids, "Result", 200, self.context)
        return [dict(self.counter_class(text)) for text in texts]

    def postprocess(self, outputs):
        return outputs
