"""Makes pictures: unpacks its sources in the model's folder, and answers bytes of an image."""

import io
import os
import zipfile

import torch
from PIL import Image

from ts.torch_handler.base_handler import BaseHandler


class PictureHandler(BaseHandler):
    def __init__(self):
        self.initialized = False
        self.map_location = None
        self.device = None
        self.default_number = 2

    def initialize(self, context):
        model_dir = context.system_properties.get("model_dir")
        self.device = torch.device("cpu")
        with zipfile.ZipFile(os.path.join(model_dir, "models.zip")) as file:
            file.extractall(model_dir)
        from generator.net import Generator

        self.model = Generator()
        path = os.path.join(model_dir, context.manifest["model"]["serializedFile"])
        self.model.load_state_dict(torch.load(path, map_location=self.device))
        self.model.eval()
        self.initialized = True

    def preprocess(self, requests):
        orders = []
        for request in requests:
            order = request.get("data") or request.get("body") or {}
            number = int(order.get("number_of_images", self.default_number))
            shade = float(order.get("shade", 0.5))
            orders.append(torch.full((number, 4), shade))
        return orders

    def inference(self, data):
        with torch.inference_mode():
            return [self.model(order) for order in data]

    def postprocess(self, data):
        files = []
        for pictures in data:
            strip = torch.cat(list(pictures), dim=1).mul(255).to(torch.uint8)
            image = Image.frombytes(
                "L", (strip.shape[1], strip.shape[0]), bytes(strip.flatten().tolist())
            )
            file = io.BytesIO()
            image.save(file, format="BMP")
            files.append(file.getvalue())
        for index in range(len(files)):
            self.context.set_response_content_type(index, "image/bmp")
        return files
