"""A picture in base64 in, masks in base64 out."""

import base64
import io
import pickle

import torch
from PIL import Image

from ts.handler_utils.timer import timed
from ts.torch_handler.base_handler import BaseHandler


class MaskHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.mask_generator = None
        self.initialized = False

    def initialize(self, ctx):
        settings = ctx.model_yaml_config["handler"]
        self.levels = settings["levels"]
        self.initialized = True

    @timed
    def preprocess(self, data):
        pictures = []
        for row in data:
            value = row.get("data") or row.get("body")
            if isinstance(value, str):
                value = base64.b64decode(value)
            picture = Image.open(io.BytesIO(value)).convert("L")
            flat = torch.tensor(list(picture.tobytes()))
            pictures.append(flat.reshape(picture.height, picture.width))
        return pictures

    @timed
    def inference(self, pictures):
        return [[(picture > level).tolist() for level in self.levels] for picture in pictures]

    @timed
    def postprocess(self, data):
        return [base64.b64encode(pickle.dumps(masks, protocol=4)).decode("utf-8") for masks in data]
