import torch
from PIL import Image


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        if isinstance(self.size, int):
            factor = self.size / min(image.size)
            size = tuple(
                self.size if side == min(image.size) else int(side * factor) for side in image.size
            )
        else:
            size = (self.size[1], self.size[0])
        return image.resize(size, Image.BILINEAR)


class CenterCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        left = round((image.width - self.size) / 2)
        top = round((image.height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    def __call__(self, image):
        bands = len(image.getbands())
        flat = torch.tensor(list(image.tobytes()), dtype=torch.float32)
        return flat.reshape(image.height, image.width, bands).permute(2, 0, 1) / 255


class Normalize:
    def __init__(self, mean, std):
        self.mean = torch.tensor(mean).reshape(-1, 1, 1)
        self.std = torch.tensor(std).reshape(-1, 1, 1)

    def __call__(self, tensor):
        return (tensor - self.mean) / self.std
