"""Image handlers: exact preprocessing, answers, explanations."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tsl.backend.handlers.image_classifier import ImageClassifier
from tsl.backend.handlers.image_segmenter import ImageSegmenter
from tsl.backend.handlers.object_detector import ObjectDetector
from tsl.backend.handlers.transforms import CenterCrop, ToRGB, ToTensor
from tsl.backend.regroup import Regroup
from tsl.protocol.errors import HandlerFailed, InvalidInput

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def picture(width, height, mode="RGB"):
    """A reproducible picture with detail everywhere."""
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def resample(pixels, size):
    """Bilinear with antialiasing along axis 0, in the fixed-point numbers that Pillow uses."""
    count = pixels.shape[0]
    scale = count / size
    support = max(scale, 1.0)
    rows = []
    for index in range(size):
        centre = (index + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), count)
        distance = np.abs(np.arange(first, last) - centre + 0.5) / support
        weights = np.clip(1.0 - distance, 0.0, None)
        fixed = np.floor(weights / weights.sum() * (1 << 22) + 0.5).astype(np.int64)
        total = np.tensordot(fixed, pixels[first:last].astype(np.int64), axes=1)
        rows.append(np.clip((total + (1 << 21)) >> 22, 0, 255))
    return np.stack(rows).astype(np.uint8)


def expected_tensor(image):
    """Resize 256, centre crop 224, scale to 0..1, normalize; written with numpy alone."""
    pixels = np.array(image)
    height, width, _ = pixels.shape
    short = min(width, height)
    new_width, new_height = int(256 * width / short), int(256 * height / short)
    if new_width != width:
        pixels = resample(pixels.transpose(1, 0, 2), new_width).transpose(1, 0, 2)
    if new_height != height:
        pixels = resample(pixels, new_height)
    top, left = round((new_height - 224) / 2.0), round((new_width - 224) / 2.0)
    cropped = pixels[top : top + 224, left : left + 224].astype(np.float32) / np.float32(255)
    return ((cropped - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize(
    "size",
    [(640, 427), (300, 451), (256, 256), (90, 61), (256, 300), (1001, 257)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_image_is_resized_cropped_and_normalized_bit_for_bit(size):
    image = picture(*size)

    tensor = ImageClassifier().preprocess([{"body": png(image)}])

    assert tensor.shape == (1, 3, 224, 224)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor[0].numpy(), expected_tensor(image))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "CMYK"])
def test_other_modes_are_served_as_rgb(mode):
    image = picture(256, 256, "RGB").convert(mode)
    stored = image.convert("RGB") if mode == "CMYK" else image  # PNG has no CMYK

    tensor = ImageClassifier().preprocess([{"body": png(stored)}])

    np.testing.assert_array_equal(tensor[0].numpy(), expected_tensor(stored.convert("RGB")))


def test_rows_may_be_bytes_base64_numbers_or_bare_values():
    handler = ImageClassifier()
    image = png(picture(256, 256))
    processed = handler.preprocess([{"data": image}])[0]

    tensor = handler.preprocess(
        [
            {"data": bytearray(image)},
            {"body": base64.b64encode(image).decode()},
            {"body": processed.tolist()},
            image,
        ]
    )

    assert all(torch.equal(row, processed) for row in tensor)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"not an image", id="bytes"),
        pytest.param(png(picture(64, 64))[:200], id="truncated"),
        pytest.param("abc", id="base64"),
        pytest.param("aGVsbG8=", id="base64-of-text"),
        pytest.param({"a": 1}, id="object"),
        pytest.param(["a"], id="list-of-text"),
        pytest.param(None, id="nothing"),
    ],
)
def test_body_that_is_no_image_is_the_clients_mistake(body):
    with pytest.raises(InvalidInput):
        ImageClassifier().preprocess([{"body": body}])


def test_image_beyond_the_pixel_limit_is_the_clients_mistake(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(InvalidInput, match="too large"):
        ImageClassifier().preprocess([{"body": png(picture(64, 64))}])


def picture_16_bit():
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    return Image.fromarray(values)


def test_sixteen_bits_are_scaled_to_eight():
    file = png(picture_16_bit())

    assert ToRGB()(Image.open(io.BytesIO(file))).getchannel(0).tobytes() == bytes(
        [0, 0, 1, 128, 255]
    )


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_eight_bits_are_no_tensor(mode):
    with pytest.raises(ValueError, match="more than 8 bits"):
        ToTensor()(Image.new(mode, (2, 2)))


def test_black_and_white_is_grey():
    assert ToTensor()(Image.new("1", (9, 1), 1)).tolist() == [[[1.0] * 9]]


@pytest.mark.parametrize(
    ("width", "left", "right"), [(3, 0, 1), (4, 0, 0), (2, 1, 1), (1, 1, 2)], ids=str
)
def test_a_crop_larger_than_the_image_gets_a_border(width, left, right):
    """torchvision pads half of what is missing, rounded down, on the left."""
    cropped = CenterCrop(4)(Image.new("L", (width, 4), 255))

    row = list(cropped.crop((0, 0, 4, 1)).tobytes())
    assert row == [0] * left + [255] * width + [0] * right


# -- rows --------------------------------------------------------------------------------------


def rows_of(*bodies):
    return [{"body": each} for each in bodies]


def test_bad_images_of_a_batch_are_refused_together():
    with pytest.raises(Regroup) as caught:
        ImageClassifier().preprocess(rows_of(png(picture(9, 9)), b"no", png(picture(8, 8)), "abc"))

    assert caught.value.groups == [[0, 2]]
    assert all(isinstance(error, InvalidInput) for error in caught.value.refused.values())


def test_images_of_different_shapes_are_called_apart():
    handler = ObjectDetector()

    with pytest.raises(Regroup) as caught:
        handler.preprocess(rows_of(*(png(picture(*size)) for size in [(9, 9), (8, 9), (9, 9)])))

    assert caught.value.groups == [[0, 2], [1]]


def test_image_that_a_transform_cannot_take_fails_alone(caplog):
    handler = ImageClassifier()
    handler.image_processing = ToTensor()
    deep = png(picture_16_bit())

    with pytest.raises(Regroup) as caught:
        handler.preprocess(rows_of(deep, png(picture(5, 1))))
    with pytest.raises(ValueError, match="8 bits"):
        handler.preprocess(rows_of(deep))

    assert isinstance(caught.value.refused[0], HandlerFailed)
    assert "more than 8 bits" in caplog.text


def test_classifier_answers_the_highest_probabilities_first():
    handler = ImageClassifier()
    handler.mapping = {str(number): f"class-{number}" for number in range(10)}

    (answer,) = handler.postprocess(torch.arange(10.0)[None])

    expected = np.exp(np.arange(10)) / np.exp(np.arange(10)).sum()
    assert list(answer) == ["class-9", "class-8", "class-7", "class-6", "class-5"]
    assert list(answer.values()) == pytest.approx(expected[:4:-1], rel=1e-6)


def test_number_of_classes_is_configurable_and_bounded_by_the_model():
    handler = ImageClassifier()

    assert len(handler.postprocess(torch.zeros(2, 3))[1]) == 3
    handler.set_max_result_classes(1)
    assert handler.get_max_result_classes() == 1
    assert handler.postprocess(torch.tensor([[0.0, 0.0, 99.0]])) == [{"2": 1.0}]


def test_segmenter_answers_class_and_probability_of_each_pixel():
    scores = torch.zeros(1, 3, 1, 2)
    scores[0, 2, 0, 0] = 50.0
    scores[0, 1, 0, 1] = 50.0

    answer = ImageSegmenter().postprocess({"out": scores})

    assert answer == [[[[2.0, 1.0], [1.0, 1.0]]]]


def test_detector_keeps_boxes_of_high_score_in_order():
    handler = ObjectDetector()
    found = {
        "boxes": torch.tensor([[0.0, 0, 1, 1], [2.0, 2, 3, 3], [4.0, 4, 5, 5]]),
        "labels": torch.tensor([1, 2, 1]),
        "scores": torch.tensor([0.5, 0.25, 0.75]),
    }
    nothing = {name: values[:0] for name, values in found.items()}

    assert handler.postprocess([found, nothing]) == [
        [{"1": [0.0, 0.0, 1.0, 1.0], "score": 0.5}, {"1": [4.0, 4.0, 5.0, 5.0], "score": 0.75}],
        [],
    ]
    handler.mapping = {"1": "person"}
    assert "person" in handler.postprocess([found])[0][0]


def test_to_tensor_keeps_channels_and_scales_to_one():
    image = Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8))

    tensor = ToTensor()(image)

    assert tensor.shape == (1, 1, 3)
    assert tensor.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])


class Squares(torch.nn.Module):
    """Score of class k: the sum of (k + 1) x² over the image; nothing at the zero image."""

    def forward(self, x):
        total = (x**2).flatten(1).sum(1, keepdim=True)
        return total * torch.tensor([[1.0, 2.0]])


@pytest.mark.parametrize("target", [0, 1, [0, 1]], ids=str)
def test_integrated_gradients_add_up_to_the_score(target):
    handler = ImageClassifier()
    handler.model = Squares()
    images = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)

    insights = torch.tensor(handler.get_insights(images, None, target))

    factor = (torch.tensor(target) + 1.0).expand(2).view(2, 1, 1, 1)
    assert insights.shape == images.shape
    torch.testing.assert_close(insights, factor * images**2)


def test_attribution_is_made_once_and_can_be_replaced():
    handler = ImageClassifier()
    handler.model = Squares()
    assert handler.ig is handler.ig

    handler.ig = "mine"

    assert handler.ig == "mine"


def test_pixel_limit_is_lifted_on_request(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(ImageClassifier.__mro__[2], "initialize", lambda self, context: None)

    for limit, expected in ((True, 100), (False, None)):
        context = SimpleNamespace(system_properties={"limit_max_image_pixels": limit})
        ImageClassifier().initialize(context)
        assert expected == Image.MAX_IMAGE_PIXELS
