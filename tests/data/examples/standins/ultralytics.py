"""Finds bright pixels instead of things."""

import json

import torch


class YOLO:
    def __init__(self, path):
        with open(path) as file:
            self.names = {int(key): name for key, name in json.load(file).items()}

    def to(self, device):
        return self

    def __call__(self, images):
        return [Result(image, self.names) for image in images]


class Result:
    def __init__(self, image, names):
        bright = (image.mean(dim=0) > 0.6).nonzero()[::97]
        self.names = names
        self.boxes = Boxes(bright)


class Boxes:
    def __init__(self, points):
        rows, columns = points[:, 0].float(), points[:, 1].float()
        self.xyxy = torch.stack([columns, rows, columns + 1, rows + 1], dim=1)
        self.cls = (points.sum(dim=1) % 2).float()
        self.conf = 1 / (1 + points[:, 0].float())
