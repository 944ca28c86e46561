"""One request has several frames, in base64; the answer has one entry for each."""

import base64
import io

import torch
from PIL import Image

from ts.torch_handler.image_classifier import ImageClassifier
from ts.utils.util import map_class_to_label


class VideoClassifier(ImageClassifier):
    topk = 2

    def preprocess(self, data):
        self.counts = []
        frames = []
        for row in data:
            entry = row.get("data") or row.get("body")
            self.counts.append(len(entry))
            for name in sorted(entry):
                picture = Image.open(io.BytesIO(base64.b64decode(entry[name])))
                frames.append(self.image_processing(picture))
        return torch.stack(frames).to(self.device)

    def postprocess(self, data):
        shares = torch.nn.functional.softmax(data, dim=1)
        values, classes = torch.topk(shares, self.topk, dim=1)
        labelled = iter(map_class_to_label(values.tolist(), self.mapping, classes.tolist()))
        return [[next(labelled) for _ in range(count)] for count in self.counts]
