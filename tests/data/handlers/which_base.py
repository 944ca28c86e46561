"""Answers whose base class this is."""

from ts.torch_handler.base_handler import BaseHandler


class Handler(BaseHandler):
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        return [BaseHandler.__module__ for _ in data]
