"""Uses torch."""

import torch


def handle(data, context):
    if data is None:  # the call at load time
        return None
    return [{"sum": float(torch.ones(3).sum()), "seed": torch.initial_seed()}] * len(data)
