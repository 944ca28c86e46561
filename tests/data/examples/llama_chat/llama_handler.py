"""Streams words; the function comes from its older place."""

import os

from llama_cpp import Llama

from ts.protocol.otf_message_handler import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class ChatHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.initialized = False

    def initialize(self, ctx):
        self.context = ctx
        folder = ctx.system_properties["model_dir"]
        self.model = Llama(
            model_path=os.path.join(folder, os.environ.get("LLAMA_Q4_MODEL", "llama.gguf"))
        )
        self.initialized = True

    def preprocess(self, data):
        assert len(data) == 1, "one request at a time"
        order = data[0].get("data") or data[0].get("body")
        if isinstance(order, (bytes, bytearray)):
            order = {"prompt": order.decode("utf-8")}
        return order

    def inference(self, data):
        tokens = self.model.create_completion(
            data["prompt"], max_tokens=data.get("max_tokens", 16), stream=True
        )
        for token in tokens:
            send_intermediate_predict_response(
                [token["choices"][0]["text"]],
                self.context.request_ids,
                "Intermediate Prediction success",
                200,
                self.context,
            )
        return [""]

    def postprocess(self, output):
        return output
