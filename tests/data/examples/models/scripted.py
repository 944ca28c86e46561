"""Models that are packed as TorchScript."""

import torch


class Segmenter(torch.nn.Module):
    """Three classes for every pixel."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, kernel_size=1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.conv(images)}


class Letters(torch.nn.Module):
    """Two classes from the letters of a text; the tokenizer is part of the model."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(26, 4)
        self.fc = torch.nn.Linear(4, 2)

    def forward(self, texts: list[str]) -> torch.Tensor:
        rows: list[torch.Tensor] = []
        for text in texts:
            numbers: list[int] = []
            for letter in text:
                number = ord(letter) - 97
                if number >= 0 and number < 26:
                    numbers.append(number)
            rows.append(self.embedding(torch.tensor(numbers)).mean(dim=0))
        return self.fc(torch.stack(rows))


class Linear(torch.nn.Module):
    """Three numbers from two."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.fc(values)
