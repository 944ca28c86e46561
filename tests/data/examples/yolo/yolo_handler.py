"""A subclass of the object detector that loads and answers in its own way."""

import os
from collections import Counter

import torch
from torchvision import transforms
from ultralytics import YOLO

from ts.torch_handler.object_detector import ObjectDetector


class YoloHandler(ObjectDetector):
    image_processing = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])

    def __init__(self):
        super().__init__()

    def initialize(self, context):
        self.device = torch.device("cpu")
        properties = context.system_properties
        self.manifest = context.manifest
        file = self.manifest["model"]["serializedFile"]
        self.model = YOLO(os.path.join(properties["model_dir"], file))
        self.model.to(self.device)
        self.initialized = True

    def postprocess(self, results):
        answers = []
        for result in results:
            names = [result.names[int(number)] for number in result.boxes.cls]
            answers.append(dict(Counter(names)))
        return answers
