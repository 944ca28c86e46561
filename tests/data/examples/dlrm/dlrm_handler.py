"""Numbers and ids in JSON, as an object or as text."""

import json

import torch

from ts.torch_handler.base_handler import BaseHandler


class ScoreHandler(BaseHandler):
    def initialize(self, context):
        super().initialize(context)
        self.model.eval()

    def preprocess(self, data):
        numbers, ids = [], []
        for row in data:
            order = row.get("data") or row.get("body")
            if not isinstance(order, dict):
                order = json.loads(order)
            if len(order["float_features"]) != 3:
                raise ValueError("there must be three numbers")
            numbers.append(order["float_features"])
            ids.append(order["id_list_features"])
        return torch.tensor(numbers), torch.tensor(ids)

    def inference(self, data, *args, **kwargs):
        with torch.inference_mode():
            return self.model(*data)

    def postprocess(self, data):
        return [{"score": each} for each in data.tolist()]
