"""`handle` is an object that runs the steps on slices of the batch, in threads of their own."""

import base64
import io

import torch
from PIL import Image

from ts.handler_utils.micro_batching import MicroBatching
from ts.torch_handler.image_classifier import ImageClassifier


class MicroClassifier(ImageClassifier):
    def __init__(self):
        self.handle = MicroBatching(self)

    def initialize(self, ctx):
        super().initialize(ctx)
        settings = ctx.model_yaml_config["micro_batching"]
        self.handle.parallelism = settings["parallelism"]
        self.handle.micro_batch_size = settings["micro_batch_size"]

    def preprocess(self, data):
        pictures = []
        for row in data:
            value = row.get("data") or row.get("body")
            if isinstance(value, str):
                value = base64.b64decode(value)
            pictures.append(self.image_processing(Image.open(io.BytesIO(value))))
        return torch.stack(pictures).to(self.device)

    def inference(self, data, *args, **kwargs):
        with torch.no_grad():
            return self.model(data, *args, **kwargs)
