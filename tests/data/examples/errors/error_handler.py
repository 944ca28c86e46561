"""Fails in all ways that have a status of their own."""

from ts.service import PredictionException as FromService
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException


class FailingHandler(BaseHandler):
    def initialize(self, context):
        assert FromService is PredictionException

    def handle(self, data, context):
        what = bytes(data[0]["body"]).decode()
        if what == "not found":
            raise PredictionException("there is nothing of this name", 404)
        if what == "own":
            raise PredictionException("own", 513)
        if what == "memory":
            raise MemoryError("too much")
        if what == "cuda":
            raise RuntimeError("CUDA out of memory")
        if what == "value":
            raise ValueError("the client sees none of this")
        if what == "length":
            return [1, 2]
        if what == "type":
            return ("a",)
        if what == "no encoding":
            return [{1, 2}]
        context.set_response_status(code=201, phrase="Made", idx=0)
        context.set_response_header(0, "x-what", what)
        return [what]
