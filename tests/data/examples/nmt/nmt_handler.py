"""Reads setup_config.json beside itself, decodes bytes, answers JSON as text; no super().__init__()."""

import json
import logging
import os

from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)


class TranslationHandler(BaseHandler):
    def __init__(self):
        self._context = None
        self.initialized = False

    def initialize(self, context):
        self._context = context
        self.manifest = context.manifest
        model_dir = context.system_properties.get("model_dir")
        with open(os.path.join(model_dir, "setup_config.json")) as file:
            self.setup_config = json.load(file)
        self.words = self.setup_config["words"]
        self.initialized = True
        logger.info("translates %s words", len(self.words))

    def preprocess(self, data):
        texts = []
        for row in data:
            value = row.get("data") or row.get("body")
            texts.append(value.decode("utf-8"))
        return texts

    def inference(self, data, *args, **kwargs):
        return [
            {"input": text, "output": " ".join(self.words.get(word, word) for word in text.split())}
            for text in data
        ]

    def postprocess(self, data):
        return [json.dumps(each) for each in data]
