"""Image handlers behind the service: several images, bad ones, explanations in every form."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from tsl.backend.envelopes.kserve import KServeEnvelope
from tsl.backend.envelopes.kservev2 import KServev2Envelope
from tsl.backend.handlers.heat_map import draw, to_png
from tsl.backend.handlers.image_classifier import ImageClassifier
from tsl.backend.handlers.image_explanations import named_class, to_picture
from tsl.backend.handlers.image_segmenter import ImageSegmenter
from tsl.backend.handlers.object_detector import ObjectDetector
from tsl.backend.handlers.transforms import Compose, Normalize, ToTensor
from tsl.backend.handlers.views import View, wanted_view
from tsl.backend.micro_batching import MicroBatching
from tsl.backend.service import Service
from tsl.backend.streaming import ReplyStream
from tsl.protocol.errors import InvalidInput, TslError
from tsl.protocol.frames import Failure, Part, Predict, Row


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Means(torch.nn.Module):
    """Score of class k: the mean of channel k."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


def service_for(handler):
    handler.device = torch.device("cpu")
    handler.model_yaml_config = {}
    return Service("m", "/m", None, handler.handle, None, 8)


def form(*values, name="data"):
    return [Part(name, "", memoryview(value)) for value in values]


def call(service, *requests, headers=(), query="", explain=False):
    """The (status, type, body) of each request of a batch."""
    properties = ["explain", str(explain), *(["url_query", query] if query else [])]
    rows = [Row(f"r{n}", list(headers), properties, parts) for n, parts in enumerate(requests)]
    outlet = SimpleNamespace(has_cancelled=False)
    result = service.predict(Predict(1, rows), ReplyStream(outlet, 10_000_000))
    if isinstance(result, Failure):
        error = TslError.from_wire(result.code, result.message, result.status)
        return [(error.status(), "", str(error))] * len(rows)
    return [answer_of(reply) for reply in result.replies]


def answer_of(reply):
    if reply.error:
        error = TslError.from_wire(reply.error, bytes(reply.body).decode(), reply.status)
        return error.status(), "", str(error)
    headers = dict(zip(reply.headers[::2], reply.headers[1::2], strict=True))
    kind = headers.get("content-type", "")
    body = bytes(reply.body)
    return reply.status or 200, kind, body if kind else json.loads(body)


def colour(*rgb):
    return png(Image.new("RGB", (16, 16), rgb))


def small_transforms():
    """As for ImageNet, but quick; black is not zero."""
    return Compose([ToTensor(), Normalize(mean=[0.4] * 3, std=[0.25] * 3)])


@pytest.fixture
def classifier():
    handler = ImageClassifier()
    handler.model = Means()
    handler.topk = 1
    handler.image_processing = small_transforms()
    handler.mapping = {"0": "red", "1": "green", "2": "blue"}
    return handler


RED, GREEN, BLUE = colour(255, 0, 0), colour(0, 255, 0), colour(0, 0, 255)


def best(answer):
    return [next(iter(each)) for each in answer] if isinstance(answer, list) else next(iter(answer))


def test_one_bad_image_of_a_batch_fails_alone(classifier):
    answers = call(service_for(classifier), form(RED), form(b"no image"), form(BLUE))

    assert [answer[0] for answer in answers] == [200, 400, 200]
    assert [best(answers[0][2]), best(answers[2][2])] == ["red", "blue"]


def test_several_images_of_a_request_are_answered_by_a_list_in_order(classifier):
    (several, single) = call(service_for(classifier), form(RED, BLUE, GREEN), form(GREEN))

    assert best(several[2]) == ["red", "blue", "green"]
    assert best(single[2]) == "green"


def test_a_bad_image_among_several_fails_its_request_and_is_named(classifier):
    bad, good = call(service_for(classifier), form(RED, b"no image"), form(BLUE))

    assert bad[0] == 400
    assert bad[2].startswith("Image 2 of 2: ")
    assert good[0] == 200


def test_images_in_a_request_are_limited(classifier):
    classifier.max_images = 2

    too_many, fine = call(service_for(classifier), form(RED, RED, RED), form(RED, BLUE))

    assert too_many[0] == 400
    assert "at most 2" in too_many[2]
    assert best(fine[2]) == ["red", "blue"]


def test_images_of_one_request_may_have_different_sizes(classifier):
    classifier.image_processing = ToTensor()
    files = [png(Image.new("RGB", (9, width), "blue")) for width in (4, 5, 4)]

    (answer,) = call(service_for(classifier), form(*files))

    assert best(answer[2]) == ["blue", "blue", "blue"]


def test_several_images_of_a_request_pass_micro_batches_by(classifier):
    classifier.handle = MicroBatching(classifier, micro_batch_size=1)
    service = service_for(classifier)
    try:
        several, single = call(service, form(RED, BLUE), form(GREEN))
        bad, good = call(service, form(b"no image"), form(BLUE))
    finally:
        classifier.handle.shutdown()

    assert best(several[2]) == ["red", "blue"]
    assert best(single[2]) == "green"
    assert [bad[0], best(good[2])] == [400, "blue"]


def test_an_image_may_be_a_member_of_a_json_object(classifier):
    document = json.dumps({"data": base64.b64encode(GREEN).decode()}).encode()

    (answer,) = call(service_for(classifier), [Part("body", "application/json", document)])

    assert best(answer[2]) == "green"


# -- which form ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "view"),
    [
        ({}, View.JSON),
        ({"Accept": "*/*"}, View.JSON),
        ({"ACCEPT": "image/png"}, View.PNG),
        ({"accept": "image/webp, image/*"}, View.PNG),
        ({"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, View.HTML),
        ({"accept": "image/png;q=0.2, application/json"}, View.JSON),
        ({"accept": "text/html;q=0, image/png;q=nonsense"}, View.JSON),
        ({"accept": "image/png", "url_query": "format=HTML&x=1"}, View.HTML),
        ({"accept": "image/png", "url_query": "x=1"}, View.PNG),
    ],
    ids=str,
)
def test_the_form_is_the_querys_or_the_best_accepted_one(headers, view):
    assert wanted_view(headers) is view


def test_an_unknown_format_is_the_clients_mistake():
    with pytest.raises(InvalidInput, match="json, png, html"):
        wanted_view({"url_query": "format=gif"})


# -- which class --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        (b" ", None),
        (1, 1),
        ("1", 1),
        (bytearray(b" dog "), 1),
        ("CAT", 0),
        ([1, 2], (1, 2)),
    ],
    ids=repr,
)
def test_a_class_is_named_by_number_or_label(value, expected):
    assert named_class(value, {"0": "cat", "1": "dog"}) == expected


@pytest.mark.parametrize("value", ["2", 2, -1, "-1", "cow", 1.5, True, [], {"a": 1}], ids=repr)
def test_a_class_that_there_is_not_is_the_clients_mistake(value):
    with pytest.raises(InvalidInput, match="0 to 1 or a label such as 'cat'"):
        named_class(value, {"0": "cat", "1": "dog"})


def test_without_labels_the_model_decides_what_is_a_class(classifier):
    classifier.mapping = None
    fields = [*form(RED), Part("target", "", memoryview(b"3"))]

    bad, good = call(service_for(classifier), fields, form(RED), explain=True)

    assert bad[0] == 400
    assert "0 to 2" in bad[2]
    assert good[0] == 200


# -- explanations -------------------------------------------------------------------------------


class Sharp(torch.nn.Module):
    """Not linear, so that the path matters: squares of the channels' means."""

    def forward(self, x):
        return x.mean(dim=(2, 3)) ** 2 + x.mean(dim=(1, 2, 3)).exp()[:, None]


@pytest.fixture
def photo():
    values = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(1))
    return png(to_picture(values, ()))


@pytest.mark.parametrize("target", [0, 2])
def test_attributions_add_up_to_the_difference_of_the_scores(classifier, photo, target):
    """The completeness axiom of integrated gradients, up to the error of 15 steps."""
    classifier.model = Sharp()
    fields = [*form(photo), Part("target", "", memoryview(b"%d" % target))]

    ((status, _, insight),) = call(service_for(classifier), fields, explain=True)

    image = classifier.preprocess([{"data": photo}])
    with torch.no_grad():
        score, baseline = Sharp()(torch.cat([image, torch.zeros_like(image)]))[:, target].tolist()
    assert status == 200
    assert torch.tensor(insight).shape == (3, 20, 30)
    assert torch.tensor(insight, dtype=torch.float64).sum().item() == pytest.approx(
        score - baseline, abs=1e-4
    )


def test_rows_of_a_batch_are_explained_as_they_are_alone(classifier):
    service = service_for(classifier)
    blue = [*form(BLUE), Part("target", "", memoryview(b"blue"))]

    together = call(service, form(RED), blue, form(b"no image"), explain=True)
    apart = [call(service, each, explain=True)[0] for each in (form(RED), blue)]

    assert [each[0] for each in together] == [200, 200, 400]
    for one, other in zip(together, apart, strict=False):
        torch.testing.assert_close(torch.tensor(one[2]), torch.tensor(other[2]))


def test_several_images_are_explained_by_a_list(classifier):
    ((status, _, insights),) = call(service_for(classifier), form(RED, BLUE), explain=True)

    assert status == 200
    assert torch.tensor(insights).shape == (2, 3, 16, 16)


def half_red():
    image = Image.new("RGB", (64, 64))
    image.paste((255, 255, 255), (0, 0, 32, 64))
    return image


@pytest.fixture
def half(classifier):
    """A model whose black is zero, so that all the relevance is on the left."""
    classifier.image_processing = Compose([ToTensor(), Normalize([0.0] * 3, [0.5] * 3)])
    return classifier


@pytest.mark.parametrize(
    "how", [{"headers": [b"accept", b"image/png"]}, {"query": "format=png"}], ids=["accept", "url"]
)
def test_an_explanation_can_be_a_picture(half, how):
    ((status, kind, body),) = call(service_for(half), form(png(half_red())), explain=True, **how)

    picture = Image.open(io.BytesIO(body))
    assert (status, kind, picture.size) == (200, "image/png", (64, 64))
    left, right = picture.getpixel((10, 30)), picture.getpixel((54, 30))
    assert left[0] > 200  # lit
    assert max(right) < 10  # dimmed


def test_pictures_of_one_request_stand_side_by_side(half):
    fields = form(png(half_red()), png(half_red()))

    ((_, kind, body),) = call(service_for(half), fields, explain=True, query="format=png")

    assert kind == "image/png"
    assert Image.open(io.BytesIO(body)).size == (128, 64)


def test_a_picture_explains_the_most_probable_class_unless_told_otherwise(classifier, monkeypatch):
    seen = []
    monkeypatch.setattr(
        classifier, "get_insights", lambda *args: seen.append(args[2]) or args[0].tolist()
    )
    service = service_for(classifier)

    call(service, form(BLUE), form(GREEN), explain=True, query="format=png")
    call(service, [*form(BLUE), Part("target", "", memoryview(b"0"))], explain=True)
    call(service, form(BLUE), explain=True)

    assert seen == [[2, 1], 0, 0]


def test_an_explanation_can_be_a_page_that_needs_nothing_else(half):
    half.mapping = {"0": "<b>red</b>", "1": "green", "2": "blue"}
    half.topk = 3

    ((status, kind, body),) = call(
        service_for(half), form(png(half_red())), explain=True, headers=[b"Accept", b"text/html"]
    )

    page = body.decode()
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert page.count('src="data:image/png;base64,') == 2
    assert "&lt;b&gt;red" in page
    assert "<b>" not in page
    assert page.count("<meter") == 3
    assert "sum of all attributions" in page
    assert "<script" not in page
    assert "http" not in page


def test_pages_may_load_nothing(half):
    service = service_for(half)
    rows = [Row("r", [b"accept", b"text/html"], ["explain", "True"], form(png(half_red())))]
    result = service.predict(
        Predict(1, rows), ReplyStream(SimpleNamespace(has_cancelled=False), 10_000_000)
    )

    assert (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in result.replies[0].headers
    )


def test_an_unknown_format_fails_its_own_request(classifier):
    rows = [
        Row(f"r{n}", [], ["explain", "True", "url_query", query], form(RED))
        for n, query in enumerate(["format=gif", "format=png"])
    ]
    stream = ReplyStream(SimpleNamespace(has_cancelled=False), 10_000_000)

    result = service_for(classifier).predict(Predict(1, rows), stream)

    assert [answer_of(each)[0] for each in result.replies] == [400, 200]


def test_an_explanation_that_is_no_map_says_so(classifier):
    classifier.get_insights = lambda *args: [{"words": ["a"]}]

    ((status, _, message),) = call(
        service_for(classifier), form(RED), explain=True, query="format=png"
    )

    assert status == 400
    assert "format=json" in message


class Session:
    """As onnxruntime has it: no gradients, no call."""

    def get_inputs(self):
        return [SimpleNamespace(name="x")]

    def run(self, names, values):
        return [values["x"].mean(axis=(2, 3))]


def test_a_model_without_gradients_says_that_it_cannot_be_explained(classifier):
    classifier.model = Session()
    service = service_for(classifier)

    ((status, _, message),) = call(service, form(RED), explain=True)
    ((_, _, prediction),) = call(service, form(RED))

    assert status == 501
    assert "no gradients" in message
    assert best(prediction) == "red"


def test_a_model_that_was_optimised_is_explained_by_the_original(classifier):
    classifier.model, classifier.differentiable_model = torch.no_grad()(Means()), Means()

    ((status, _, insight),) = call(service_for(classifier), form(RED), explain=True)

    assert status == 200
    assert torch.tensor(insight)[0].sum() > 0


class Areas(torch.nn.Module):
    """A segmenter whose classes are the channels."""

    def forward(self, x):
        return {"out": x * 3}


def test_a_segmenter_explains_its_most_frequent_class():
    handler = ImageSegmenter()
    handler.image_processing = ToTensor()
    handler.model = Areas()
    service = service_for(handler)

    ((_, _, insight),) = call(service, form(GREEN), explain=True)
    ((_, kind, _),) = call(service, form(GREEN), explain=True, query="format=png")

    sums = torch.tensor(insight).sum(dim=(1, 2))
    assert sums[1] > 0
    assert sums[0] == sums[2] == 0
    assert kind == "image/png"


class Boxes(torch.nn.Module):
    """A detector that always sees a thing with label 2, the surer the greener the image is."""

    def forward(self, x):
        return [
            {
                "boxes": torch.tensor([[0.0, 0.0, 4.0, 4.0]]),
                "labels": torch.tensor([2]),
                "scores": image[1].mean()[None],
            }
            for image in x
        ]


def test_a_detector_explains_the_boxes_of_a_label():
    handler = ObjectDetector()
    handler.model = Boxes()
    service = service_for(handler)
    absent = [*form(GREEN), Part("target", "", memoryview(b"5"))]

    ((_, _, insight),) = call(service, form(GREEN), explain=True)
    ((_, _, nothing),) = call(service, absent, explain=True)

    assert torch.tensor(insight).sum(dim=(1, 2)).tolist() == pytest.approx([0, 1, 0], abs=1e-4)
    assert torch.tensor(nothing).abs().sum() == 0


# -- explanations within a protocol -------------------------------------------------------------


def enveloped(handler, envelope):
    service = service_for(handler)
    service.entry_point = envelope(handler.handle).handle
    return service


def json_body(document):
    return [Part("body", "application/json", memoryview(json.dumps(document).encode()))]


def test_kserve_v1_explains_the_instances_of_each_request(classifier):
    image = base64.b64encode(BLUE).decode()
    documents = [
        {"instances": [{"data": image, "target": 2}]},
        {"instances": [{"data": image, "target": "red"}, {"data": image, "target": 2}]},
        {"instances": [{"data": "bm8="}]},
    ]

    answers = call(enveloped(classifier, KServeEnvelope), *map(json_body, documents), explain=True)

    assert [each[0] for each in answers] == [200, 200, 400]
    sizes = [torch.tensor(each[2]["explanations"]).shape for each in answers[:2]]
    assert sizes == [(1, 3, 16, 16), (2, 3, 16, 16)]


def test_a_protocol_is_answered_in_json_whatever_is_accepted(classifier):
    document = {"instances": [{"data": base64.b64encode(BLUE).decode()}]}

    ((status, kind, answer),) = call(
        enveloped(classifier, KServeEnvelope),
        json_body(document),
        explain=True,
        headers=[b"accept", b"image/png"],
    )

    assert (status, kind) == (200, "")
    assert "explanations" in answer


def test_kserve_v2_explains_tensors(classifier):
    tensor = {"name": "x", "shape": [3, 2, 2], "datatype": "FP32", "data": [0.5] * 12}

    ((status, _, answer),) = call(
        enveloped(classifier, KServev2Envelope), json_body({"inputs": [tensor]}), explain=True
    )

    assert status == 200
    assert answer["outputs"][0]["shape"] == [12]
    assert sum(answer["outputs"][0]["data"]) == pytest.approx(0.5, abs=1e-4)


# -- drawing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(7, 7), (64, 48)], ids=["coarse", "fine"])
def test_only_what_speaks_for_the_class_is_lit(size):
    relevance = -torch.ones(size)
    relevance[:, : size[1] // 3] = 1.0

    drawn = draw(relevance, Image.new("RGB", (96, 96), "white"))

    assert drawn.size == (96, 96)
    assert sum(drawn.getpixel((5, 50))) > 2 * sum(drawn.getpixel((90, 50)))


def test_a_map_of_nothing_lights_nothing():
    drawn = draw(torch.zeros(40, 40), Image.new("RGB", (40, 40), "white"))

    assert drawn.getextrema() == ((63, 63),) * 3


def test_a_sheet_is_as_high_as_the_highest_picture():
    sheet = to_png([Image.new("RGB", (3, 5)), Image.new("RGB", (4, 2))])

    assert Image.open(io.BytesIO(sheet)).size == (7, 5)


@pytest.mark.parametrize(
    ("image", "transforms", "expected"),
    [
        (torch.tensor([[[0.0]], [[0.2]], [[1.0]]]), (), (0, 51, 255)),
        (
            torch.tensor([[[-1.0]], [[0.0]], [[1.0]]]),
            [Normalize([0.5] * 3, [0.5] * 3)],
            (0, 128, 255),
        ),
        (torch.tensor([[[0.0]], [[5.0]], [[10.0]]]), (), (0, 128, 255)),
        (torch.tensor([[[0.6]]]), (), (153, 153, 153)),
    ],
    ids=["as it is", "normalised", "another scale", "grey"],
)
def test_a_processed_image_becomes_a_picture_again(image, transforms, expected):
    assert to_picture(image, transforms).getpixel((0, 0)) == expected
