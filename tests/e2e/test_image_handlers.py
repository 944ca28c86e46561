"""A built-in image handler behind a real server: batches, several images, explanations."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import torch
from PIL import Image
from serving import RunningServer, eventually, workers

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]

LABELS = {"0": "red", "1": "green", "2": "blue"}


class Colours(torch.nn.Module):
    """Score of class k: the mean of channel k."""

    def forward(self, x):
        return 20 * x.mean(dim=[2, 3])


def write_archive(store):
    """``colours.mar``: the handler image_classifier and a TorchScript model."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Colours()), file)
    model = {
        "modelName": "colours",
        "modelVersion": "1.0",
        "handler": "image_classifier",
        "serializedFile": "model.pt",
        "configFile": "model-config.yaml",
    }
    config = workers(1, batchSize=4, maxBatchDelay=500, handler={"optimize": True, "warm_up": True})
    with zipfile.ZipFile(store / "colours.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        archive.writestr("model-config.yaml", json.dumps(config))
        archive.writestr("index_to_name.json", json.dumps(LABELS))
        archive.writestr("model.pt", file.getvalue())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("images"))
    write_archive(running.store)
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


RED, GREEN, BLUE = picture("red"), picture("lime"), picture("blue")


def test_the_rest_of_a_batch_does_not_notice_a_bad_image(server):
    """Two predictions, a bad image and an explanation fill one batch."""
    url = f"{server.inference}/predictions/colours"
    calls = [
        (url, RED),
        (url, b"no image"),
        (url.replace("predictions", "explanations") + "?format=png", GREEN),
        (url, BLUE),
    ]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda call: requests.post(*call, timeout=30), calls))

    assert [answer.status_code for answer in answers] == [200, 400, 200, 200]
    assert [next(iter(answers[number].json())) for number in (0, 3)] == ["red", "blue"]
    assert "can be decoded" in answers[1].json()["message"]
    assert Image.open(io.BytesIO(answers[2].content)).size == (224, 224)


def test_several_images_are_answered_in_order(server):
    files = [("data", (f"{number}.png", image)) for number, image in enumerate([BLUE, RED])]

    answer = requests.post(f"{server.inference}/predictions/colours", files=files, timeout=30)

    assert [next(iter(each)) for each in answer.json()] == ["blue", "red"]


@pytest.mark.parametrize(
    "path",
    ["/explanations/colours", "/v1/models/colours:explain", "/v2/models/colours/explain"],
)
def test_an_explanation_is_to_be_seen_on_every_path(server, path):
    url = f"{server.inference}{path}"
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

    with ThreadPoolExecutor(3) as pool:
        pages = pool.submit(requests.post, url, data=GREEN, headers=browser, timeout=30)
        pictures = pool.submit(requests.post, f"{url}?format=png", data=GREEN, timeout=30)
        refusals = pool.submit(requests.post, f"{url}?format=gif", data=GREEN, timeout=30)
    page, shown, refused = pages.result(), pictures.result(), refusals.result()

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "Why “green”?" in page.text
    assert shown.headers["content-type"] == "image/png"
    assert refused.status_code == 400


def test_the_log_says_that_the_model_is_optimised(server):
    eventually(
        lambda: "frozen and optimised" in server.log("model_log.log"), "the line is in the log"
    )
