"""Adds up numbers for each sequence, in a cache of the handler's."""

import torch
from lru import LRU

from ts.context import Context
from ts.torch_handler.base_handler import BaseHandler


class Accumulator(BaseHandler):
    def __init__(self):
        super().__init__()
        self.totals = None
        self.sequences = []

    def initialize(self, ctx: Context):
        super().initialize(ctx)
        self.context = ctx
        capacity = ctx.model_yaml_config.get("handler", {}).get("cache", {}).get("capacity", 2)
        self.totals = LRU(int(capacity))

    def preprocess(self, data):
        self.sequences = []
        values = []
        for index, row in enumerate(data):
            sequence = self.context.get_sequence_id(index)
            if sequence is None:
                self.context.set_response_status(400, "no sequence", index)
            if self.context.get_request_header(index, self.context.header_key_sequence_start):
                self.totals.pop(sequence, None)
            self.sequences.append(sequence)
            values.append(int((row.get("data") or row.get("body")).decode("utf-8")))
        return torch.tensor(values, device=self.device)

    def inference(self, data, *args, **kwargs):
        answers = []
        with torch.inference_mode():
            for value, sequence in zip(data, self.sequences):
                total = self.totals.get(sequence, torch.zeros(1))
                self.totals[sequence] = self.model(value, total)
                answers.append(float(self.totals[sequence]))
        return answers

    def postprocess(self, data):
        for index, sequence in enumerate(self.sequences):
            if sequence:
                self.context.set_response_header(index, "x-sequence", sequence)
        return data
