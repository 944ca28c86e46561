"""No torch model at all: rows of CSV or JSON lists, labels from index_to_name.json."""

import os

import xgboost

from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import load_label_mapping


class IrisHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.mapping = None

    def initialize(self, context):
        model_dir = context.system_properties.get("model_dir")
        file = context.manifest["model"]["serializedFile"]
        self.model = xgboost.XGBClassifier()
        self.model.load_model(os.path.join(model_dir, file))
        self.mapping = load_label_mapping(os.path.join(model_dir, "index_to_name.json"))
        self.initialized = True

    def preprocess(self, data):
        rows = []
        for row in data:
            value = row.get("data") or row.get("body")
            if isinstance(value, (bytes, bytearray)):
                value = value.decode()
            if isinstance(value, str):
                value = [float(word) for word in value.split(",")]
            rows.append(value)
        return rows

    def inference(self, data, *args, **kwargs):
        return self.model.predict(data)

    def postprocess(self, data):
        return [self.mapping[str(number)] for number in data]
