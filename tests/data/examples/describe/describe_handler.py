"""Describes itself."""

from ts.torch_handler.base_handler import BaseHandler


class DescribingHandler(BaseHandler):
    def initialize(self, context):
        self.context = context

    def preprocess(self, data):
        return [row.get("data") or row.get("body") for row in data]

    def inference(self, data, *args, **kwargs):
        return data

    def postprocess(self, data):
        return [len(value) for value in data]

    def describe_handle(self):
        return {"answers": "the number of bytes", "labels": ["a", "b"], "version": {"major": 1}}
