"""Streams or not, as the model's settings say; steps are timed; headers say what it is."""

import torch

from ts.handler_utils.timer import timed
from ts.handler_utils.utils import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class GptHandler(BaseHandler):
    def initialize(self, ctx):
        self.context = ctx
        settings = ctx.model_yaml_config["handler"]
        self.device = torch.device(ctx.model_yaml_config.get("deviceType", "cpu"))
        self.stream = settings.get("stream", True)
        self.max_new_tokens = int(settings["max_new_tokens"])
        torch.manual_seed(int(settings.get("manual_seed", 40)))
        self.table = torch.randperm(26)
        self.initialized = True

    def handle(self, data, context):
        self.context = context
        prompts = self.preprocess(data)
        return self.postprocess(self.inference(prompts))

    @timed
    def preprocess(self, requests):
        self.context.set_response_content_type(0, "text/event-stream")
        row = requests[0].get("data") or requests[0].get("body")
        return row["prompt"]

    @timed
    def inference(self, prompt):
        token = ord(prompt[-1]) % 26
        pieces = []
        for _ in range(self.max_new_tokens):
            token = int(self.table[token])
            piece = chr(97 + token)
            pieces.append(piece)
            if self.stream:
                send_intermediate_predict_response(
                    [f"data: {piece}\n\n"],
                    self.context.request_ids,
                    "Intermediate Prediction success",
                    200,
                    self.context,
                )
        return "" if self.stream else "".join(pieces)

    @timed
    def postprocess(self, text):
        return [text]
