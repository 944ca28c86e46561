"""Text goes into the TorchScript model as it is: the model has the tokenizer."""

import logging
import os

import torch

from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import CLEANUP_REGEX, map_class_to_label

logger = logging.getLogger(__name__)


class ScriptedText(BaseHandler):
    def _load_torchscript_model(self, model_pt_path):
        logger.info("loading %s", os.path.basename(model_pt_path))
        return torch.jit.load(model_pt_path)

    def preprocess(self, data):
        texts = []
        for row in data:
            text = row.get("data") or row.get("body")
            if isinstance(text, (bytes, bytearray)):
                text = text.decode("utf-8")
            texts.append(CLEANUP_REGEX.sub("", text).lower())
        return texts

    def inference(self, data, *args, **kwargs):
        with torch.inference_mode():
            return self.model(data)

    def postprocess(self, data):
        shares = torch.nn.functional.softmax(data, dim=1)
        return map_class_to_label(shares.tolist(), self.mapping)
