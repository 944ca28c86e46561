"""The picture comes as nested lists in JSON."""

import torch

from ts.torch_handler.image_classifier import ImageClassifier


class FromJson(ImageClassifier):
    def preprocess(self, data):
        pictures = [torch.tensor(row["body"]["image"], dtype=torch.float32) for row in data]
        return torch.stack(pictures).to(self.device)

    def postprocess(self, data):
        return [{"digit": int(row.argmax()), "score": float(row.max().exp())} for row in data]
