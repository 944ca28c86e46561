"""Answers what a request envelope has made of the request, one item for each instance."""

import base64


def plain(value):
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


class Reflector:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        return [{"got": plain(each), "of": len(data)} for each in data]
