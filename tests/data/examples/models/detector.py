import torch


class Detector(torch.nn.Module):
    """One box for each quarter of the picture; its score is the brightness."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, images):
        found = []
        for image in images:
            _, height, width = image.shape
            boxes, scores = [], []
            for row in range(2):
                for column in range(2):
                    top, left = row * height // 2, column * width // 2
                    part = image[:, top : top + height // 2, left : left + width // 2]
                    boxes.append([left, top, left + width // 2, top + height // 2])
                    scores.append((part.mean() * self.scale).clamp(max=1.0))
            found.append(
                {
                    "boxes": torch.tensor(boxes, dtype=torch.float32),
                    "labels": torch.arange(1, 5),
                    "scores": torch.stack(scores),
                }
            )
        return found
