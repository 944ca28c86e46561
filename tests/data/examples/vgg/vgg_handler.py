"""Loads its weights in a way of its own."""

import importlib
import os

import torch

from ts.torch_handler.image_classifier import ImageClassifier
from ts.utils.util import list_classes_from_module


class DeepClassifier(ImageClassifier):
    topk = 3

    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        if not os.path.isfile(os.path.join(model_dir, model_file)):
            raise RuntimeError("Missing the model file")
        module = importlib.import_module(model_file.split(".")[0])
        classes = {each.__name__: each for each in list_classes_from_module(module)}
        if sorted(classes) != ["Block", "DeepNet"]:
            raise ValueError(f"unexpected classes {classes}")
        state_dict = torch.load(model_pt_path, map_location="cpu")
        depth = 1 + max(int(key.split(".")[1]) for key in state_dict if key.startswith("blocks."))
        model = classes["DeepNet"](depth=depth)
        model.load_state_dict(state_dict)
        return model
