import torch


class Generator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 64)

    def forward(self, noise):
        return torch.sigmoid(self.fc(noise)).reshape(-1, 8, 8)
