"""Embeds texts as three numbers."""


class Instructor:
    def __init__(self, folder):
        self.folder = folder

    def to(self, device):
        self.device = device

    def encode(self, pairs):
        return Rows(
            [[len(instruction), len(text), sum(map(ord, text)) % 97] for instruction, text in pairs]
        )


class Rows(list):
    def tolist(self):
        return [[value / 10 for value in row] for row in self]
