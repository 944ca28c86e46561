import torch


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = torch.nn.Linear(width, width)

    def forward(self, values):
        return values + torch.relu(self.linear(values))


class DeepNet(torch.nn.Module):
    """Two classes in one file, so that only a handler of its own can load it."""

    def __init__(self, width=12, depth=2):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, width, kernel_size=16, stride=16)
        self.blocks = torch.nn.ModuleList(Block(width) for _ in range(depth))
        self.head = torch.nn.Linear(width, 6)

    def forward(self, images):
        values = self.stem(images).mean(dim=(2, 3))
        for block in self.blocks:
            values = block(values)
        return self.head(values)
