"""Several fields in one request: a file, JSON, text."""

import json

from ts.torch_handler.base_handler import BaseHandler


class FormHandler(BaseHandler):
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        print("fields:", [sorted(row) for row in data])
        answers = []
        for row in data:
            described = {name: self._describe(value) for name, value in row.items()}
            described["type of file"] = str(context.get_request_header(0, "file"))
            answers.append(json.dumps(described, sort_keys=True))
        return answers

    def _describe(self, value):
        if isinstance(value, (bytes, bytearray)):
            return f"{type(value).__name__} of {len(value)}"
        return value
