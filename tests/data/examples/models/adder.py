import torch


class Adder(torch.nn.Module):
    """Adds numbers up, from call to call."""

    def __init__(self):
        super().__init__()
        self.step = torch.nn.Parameter(torch.tensor([0.5]))

    def forward(self, value, total):
        return total + value * self.step
