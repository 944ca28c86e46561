import torch


class TinyNet(torch.nn.Module):
    """Ten classes from pictures of any size with three channels."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, kernel_size=7, stride=8),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(2),
            torch.nn.Flatten(),
        )
        self.classifier = torch.nn.Linear(16, 10)

    def forward(self, images):
        return self.classifier(self.features(images))
