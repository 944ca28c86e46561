"""The example handlers of tests/data/examples: what belongs to each, and what it is asked."""

from __future__ import annotations

import importlib.util
import io
import itertools
import sys
import warnings
import wave
import zipfile
from typing import Any

from examples import FOLDER, Content, Example, Step, as_json, text64

# Content that is made on the spot, always the same.


def picture(width: int = 64, height: int = 48, shift: int = 0, mode: str = "RGB") -> bytes:
    """A PNG with a pattern that has no symmetry."""
    from PIL import Image

    bands = len(mode)
    values = bytes(
        (x * 3 + y * 5 + band * 40 + shift + (x * y) % 7) % 256
        for y in range(height)
        for x in range(width)
        for band in range(bands)
    )
    file = io.BytesIO()
    Image.frombytes(mode, (width, height), values).save(file, format="PNG")
    return file.getvalue()


def digit(shift: int = 0) -> bytes:
    """A PNG of 28 x 28 grey pixels."""
    return picture(28, 28, shift, "L")


def sound(half_period: int) -> bytes:
    """A WAV file with a square wave."""
    samples = b"".join(
        (12000 if (index // half_period) % 2 else -12000).to_bytes(2, "little", signed=True)
        for index in range(800)
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8000)
        wav.writeframes(samples)
    return file.getvalue()


JSON = {"content-type": "application/json"}
LABELS = as_json({str(number): f"class {number}" for number in range(10)})


def model_of(file: str, name: str, seed: int) -> Any:
    """A model of ``models/`` with random weights that are always the same."""
    import torch

    spec = importlib.util.spec_from_file_location(
        f"example_{file}", FOLDER / "models" / f"{file}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # TorchScript looks there for the sources
    spec.loader.exec_module(module)
    torch.manual_seed(seed)
    return getattr(module, name)()


def saved(value: Any) -> bytes:
    """What torch.save writes."""
    import torch

    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def state(file: str, name: str, seed: int) -> Content:
    """The weights of a model."""
    return lambda: saved(model_of(file, name, seed).state_dict())


def scripted(file: str, name: str, seed: int) -> Content:
    """A model as TorchScript."""

    def make() -> bytes:
        import torch

        target = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.save(torch.jit.script(model_of(file, name, seed).eval()), target)
        return target.getvalue()

    return make


def vocabulary() -> bytes:
    """Numbers for the words, and the pairs of words, of the text that is asked."""
    words = ["the", "quick", "brown", "fox", "is", "not", "here"]
    pairs = [f"{first} {second}" for first, second in itertools.pairwise(words)]
    return saved({token: number for number, token in enumerate(words + pairs)})


def generator_zip() -> bytes:
    """The sources that a handler unpacks itself."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("generator/__init__.py", "")
        archive.write(FOLDER / "dcgan" / "generator_net.py", "generator/net.py")
    return file.getvalue()


def generator_weights() -> bytes:
    """For the model in `generator_zip`."""
    import torch

    torch.manual_seed(5)
    linear = torch.nn.Linear(4, 64)
    return saved({"fc.weight": linear.weight.detach(), "fc.bias": linear.bias.detach()})


def sound_weights() -> bytes:
    """Four words from two features."""
    import torch

    return saved(torch.tensor([[-1.0, -1.0], [0.1, 0.0], [1.0, -2.0], [0.2, 9.0]]))


VISION = ("torchvision",)
TINY = {"model_file": "tiny_net", "weights": ("tiny.pth", state("tiny_net", "TinyNet", 1))}
DIGITS = {"model_file": "digit_net", "weights": ("digit.pth", state("digit_net", "DigitNet", 2))}
ASK_DIGIT = Step(body=digit())
ASK_PICTURE = Step(body=picture())
STREAM = {"read": "chunks"}

EXAMPLES = (
    Example(
        name="image_classifier",
        handler="image_classifier",
        **TINY,
        extra={"index_to_name.json": LABELS},
        standins=VISION,
        steps=(
            ASK_PICTURE,
            Step(name="tall", body=picture(40, 90, 9)),
            Step(name="form", files={"data": ("a.png", picture(), "image/png")}),
            Step(name="no picture", body=b"text", read="status", better=400),
        ),
    ),
    Example(
        name="batched",
        handler="image_classifier",
        **TINY,
        config={"batchSize": 4, "maxBatchDelay": 500, "minWorkers": 1, "maxWorkers": 1},
        standins=VISION,
        steps=(Step(body=tuple(picture(shift=shift) for shift in (0, 30, 60, 90))),),
    ),
    Example(
        name="torchscript",
        handler="image_classifier",
        weights=("scripted.pt", scripted("tiny_net", "TinyNet", 3)),
        standins=VISION,
        steps=(ASK_PICTURE,),
    ),
    Example(
        name="compiled",
        handler="image_classifier",
        **TINY,
        config={"pt2": {"compile": {"enable": True, "backend": "eager"}}},
        standins=VISION,
        steps=(ASK_PICTURE,),
    ),
    Example(
        name="profiled",
        handler="image_classifier",
        **TINY,
        config={"handler": {"profile": True}},
        standins=VISION,
        steps=(ASK_PICTURE,),
    ),
    Example(
        name="vgg",
        handler="vgg/vgg_handler.py",
        model_file="deep_net",
        weights=("deep.pth", state("deep_net", "DeepNet", 4)),
        standins=VISION,
        steps=(ASK_PICTURE,),
    ),
    Example(
        name="mnist",
        handler="mnist/mnist_handler.py",
        **DIGITS,
        standins=VISION,
        steps=(
            ASK_DIGIT,
            Step(name="explain", path="/explanations/mnist", body=digit()),
        ),
    ),
    Example(
        name="torchdata",
        handler="torchdata/torchdata_handler.py",
        **DIGITS,
        standins=VISION,
        steps=(
            Step(
                body=as_json(
                    {"image": [[[(x * y) % 11 / 11 for x in range(28)] for y in range(28)]]}
                ),
                headers=JSON,
            ),
        ),
    ),
    Example(
        name="video",
        handler="video/video_handler.py",
        **TINY,
        standins=VISION,
        steps=(
            Step(
                body=as_json({f"{n}": text64(picture(shift=n * 20)) for n in range(3)}),
                headers=JSON,
            ),
        ),
    ),
    Example(
        name="custom_metrics",
        handler="custom_metrics/metrics_handler.py",
        **DIGITS,
        standins=VISION,
        steps=(ASK_DIGIT, Step(name="again", body=digit(50))),
    ),
    Example(
        name="micro_batching",
        handler="micro_batching/micro_handler.py",
        **TINY,
        config={
            "micro_batching": {
                "micro_batch_size": 2,
                "parallelism": {"preprocess": 2, "inference": 1, "postprocess": 1},
            },
            "batchSize": 4,
            "maxBatchDelay": 300,
            "minWorkers": 1,
            "maxWorkers": 1,
        },
        standins=VISION,
        steps=(Step(body=tuple(picture(shift=shift) for shift in (0, 25, 50))),),
    ),
    Example(
        name="object_detector",
        handler="object_detector",
        model_file="detector",
        weights=("detector.pth", state("detector", "Detector", 0)),
        extra={"index_to_name.json": as_json({"1": "sky", "2": "tree", "3": "road", "4": "car"})},
        standins=VISION,
        steps=(ASK_PICTURE, Step(name="small", body=picture(8, 8))),
    ),
    Example(
        name="image_segmenter",
        handler="image_segmenter",
        weights=("segmenter.pt", scripted("scripted", "Segmenter", 6)),
        standins=VISION,
        steps=(Step(body=picture(), read="digest"),),
    ),
    Example(
        name="yolo",
        handler="yolo/yolo_handler.py",
        weights=("yolo.pt", as_json({"0": "cat", "1": "dog"})),
        standins=("torchvision", "ultralytics.py"),
        steps=(ASK_PICTURE,),
    ),
    Example(
        name="segment_anything",
        handler="segment_anything/sam_handler.py",
        config={"handler": {"levels": [90, 160], "profile": True}},
        steps=(
            Step(
                body=text64(picture(12, 9)).encode(),
                headers={"content-type": "text/plain"},
                read="text",
            ),
        ),
    ),
    Example(
        name="text_classifier",
        handler="text_classifier",
        model_file="text_net",
        weights=("text.pt", state("text_net", "TextNet", 7)),
        extra={
            "source_vocab.pt": vocabulary,
            "index_to_name.json": as_json({"0": "World", "1": "Sports", "2": "Business"}),
        },
        steps=(
            Step(body=b"The quick <b>brown</b> fox isn't here!"),
            Step(
                name="text",
                body=b"The quick brown fox, isn't here",
                headers={"content-type": "text/plain"},
                read="status",
            ),
            Step(
                name="explain",
                path="/explanations/text_classifier",
                body=b"The quick brown fox isn't here",
            ),
            Step(name="unknown word", body=b"whatever", read="status"),
        ),
    ),
    Example(
        name="scriptable_tokenizer",
        handler="scriptable_tokenizer/tokenizer_handler.py",
        weights=("letters.pt", scripted("scripted", "Letters", 8)),
        extra={"index_to_name.json": as_json({"0": "negative", "1": "positive"})},
        config={"batchSize": 2, "maxBatchDelay": 200, "minWorkers": 1, "maxWorkers": 1},
        steps=(Step(body=(b"A <i>good</i> film", b"Not at all &amp; never")),),
    ),
    Example(
        name="xgboost_iris",
        handler="xgboost_iris/iris_handler.py",
        weights=(
            "iris.json",
            as_json(
                [
                    {"feature": 2, "below": 2.5, "class": 0},
                    {"feature": 3, "below": 1.7, "class": 1},
                ]
            ),
        ),
        extra={
            "index_to_name.json": as_json(
                {"0": "setosa", "1": "versicolor", "2": ["x", "virginica"]}
            )
        },
        config={"batchSize": 2, "maxBatchDelay": 200, "minWorkers": 1, "maxWorkers": 1},
        standins=("xgboost.py",),
        steps=(
            Step(name="csv", body=(b"5.1,3.5,1.4,0.2", b"6.5,3.0,5.5,1.8"), read="text"),
            Step(
                name="text",
                body=b"6.0,2.2,4.0,1.0",
                headers={"content-type": "text/csv"},
                read="text",
            ),
            Step(name="list", body=b"[6.0, 2.2, 4.0, 1.0]", headers=JSON, read="text"),
        ),
    ),
    Example(
        name="stateful",
        handler="stateful/stateful_handler.py",
        model_file="adder",
        weights=("adder.pt", state("adder", "Adder", 0)),
        config={"handler": {"cache": {"capacity": 4}}, "minWorkers": 1, "maxWorkers": 1},
        standins=("lru.py",),
        steps=(
            Step(name="one", body=b"4", headers={"ts_request_sequence_id": "a"}, read="headers"),
            Step(name="two", body=b"10", headers={"ts_request_sequence_id": "a"}),
            Step(name="another", body=b"1", headers={"ts_request_sequence_id": "b"}),
            Step(name="three", body=b"2", headers={"ts_request_sequence_id": "a"}),
            Step(name="none", body=b"1", read="status"),
        ),
    ),
    Example(
        name="speech",
        handler="speech/speech_handler.py",
        weights=("speech.pt", sound_weights),
        steps=(
            Step(name="low", body=sound(200), read="text"),
            Step(name="high", body=sound(2), read="text"),
        ),
    ),
    Example(
        name="instructor",
        handler="instructor/instructor_handler.py",
        standins=("InstructorEmbedding.py",),
        steps=(
            Step(
                name="one", body=as_json({"inputs": ["Represent it", "a sentence"]}), headers=JSON
            ),
            Step(name="two", body=as_json({"inputs": [["a", "bc"], ["d", "e"]]}), headers=JSON),
        ),
    ),
    Example(
        name="dcgan",
        handler="dcgan/dcgan_handler.py",
        weights=("dcgan.pth", generator_weights),
        extra={"models.zip": generator_zip},
        steps=(
            Step(body=as_json({"number_of_images": 3, "shade": 0.25}), headers=JSON, read="bytes"),
            Step(name="default", body=b"", read="bytes"),
        ),
    ),
    Example(
        name="llama_chat",
        handler="llama_chat/llama_handler.py",
        extra={"llama.gguf": b"Hello"},
        standins=("llama_cpp.py",),
        steps=(
            Step(body=as_json({"prompt": "tell me more", "max_tokens": 3}), headers=JSON, **STREAM),
            Step(name="bytes", body=b"one two", **STREAM),
        ),
    ),
    Example(
        name="gpt_stream",
        handler="gpt_stream/gpt_handler.py",
        config={"deviceType": "cpu", "handler": {"max_new_tokens": 4, "profile": True}},
        steps=(Step(body=as_json({"prompt": "start"}), headers=JSON, **STREAM),),
    ),
    Example(
        name="gpt_whole",
        handler="gpt_stream/gpt_handler.py",
        config={"handler": {"max_new_tokens": 6, "stream": False}},
        steps=(Step(body=as_json({"prompt": "start"}), headers=JSON, read="text"),),
    ),
    Example(
        name="streamer",
        handler="streamer/streamer_handler.py",
        config={"batchSize": 4, "maxBatchDelay": 400, "minWorkers": 1, "maxWorkers": 1},
        # More than one slice: the second one's streams never end with TorchServe.
        steps=(Step(body=(b"abc", b"defg"), **STREAM),),
    ),
    Example(
        name="url_path",
        handler="url_path/url_path_handler.py",
        steps=(
            Step(headers={"X-Mine": "yes", **JSON}, body=b"{}"),
            Step(name="longer", path="/predictions/url_path/1.0/v1/chat/completions", body=b"x"),
            Step(name="explain", path="/explanations/url_path", body=b"x"),
        ),
    ),
    Example(
        name="describe",
        handler="describe/describe_handler.py",
        steps=(
            Step(name="predict", body=b"four"),
            Step(
                name="describe",
                path="/models/describe?customized=true",
                api="management",
                read="metadata",
            ),
        ),
    ),
    Example(
        name="errors",
        handler="errors/error_handler.py",
        steps=(
            *(
                Step(name=what, body=what.encode(), read="status")
                for what in (
                    "not found",
                    "own",
                    "memory",
                    "cuda",
                    "value",
                    "length",
                    "type",
                    "no encoding",
                )
            ),
            Step(name="fine", body=b"fine", read="headers"),
        ),
    ),
    Example(
        name="tts",
        handler="tts/tts_handler.py",
        config={"handler": {"rate": 8000, "voice": "voice.txt"}},
        extra={"voice.txt": b"0 900 -900 3000 -3000 50"},
        steps=(
            Step(body=b"Good day", read="bytes"),
            Step(name="json", body=as_json({"text": "Oh"}), headers=JSON, read="bytes"),
        ),
    ),
    Example(
        name="nmt",
        handler="nmt/nmt_handler.py",
        extra={"setup_config.json": as_json({"words": {"hello": "hallo", "world": "Welt"}})},
        steps=(Step(body=b"hello new world"), Step(name="form", files={"data": ("a", b"hello")})),
    ),
    Example(
        name="dlrm",
        handler="dlrm/dlrm_handler.py",
        model_file="recommender",
        weights=("dlrm.pth", state("recommender", "Recommender", 9)),
        steps=(
            Step(
                body=as_json({"float_features": [0.1, -2, 3], "id_list_features": [1, 5, 19]}),
                headers=JSON,
            ),
            Step(
                name="text",
                body=as_json({"float_features": [1.0, 0.5, 1.0], "id_list_features": [0]}),
            ),
            Step(name="wrong", body=as_json({"float_features": [1]}), headers=JSON, read="status"),
        ),
    ),
    Example(
        name="mms_service",
        handler="mms_service/service.py",
        config={"minWorkers": 1, "maxWorkers": 1},
        steps=(
            Step(name="one", body=b"x", read="text"),
            Step(
                name="two",
                body=b"a=1&b=2",
                headers={"content-type": "application/x-www-form-urlencoded"},
                read="text",
            ),
        ),
    ),
    Example(
        name="function",
        handler="function/function_handler:answer",
        steps=(Step(body=b"you", read="text"),),
    ),
    Example(
        name="form",
        handler="form/form_handler.py",
        steps=(
            Step(
                files=[
                    ("file", ("a.png", b"\x89PNG", "image/png")),
                    ("settings", ("s.json", b'{"a": [1]}', "application/json")),
                    ("note", ("n.txt", b"hello", "text/plain")),
                    ("plain", (None, b"field")),
                ],
            ),
            Step(
                name="urlencoded",
                body=b"a=1&b=x%20y",
                headers={"content-type": "application/x-www-form-urlencoded"},
            ),
        ),
    ),
)


def instances(*values: Any) -> bytes:
    """A request of KServe's version 1."""
    return as_json({"instances": list(values)})


def inputs(*entries: dict[str, Any], **members: Any) -> bytes:
    """A request of KServe's version 2."""
    return as_json({**members, "inputs": list(entries)})


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    """An input of KServe's version 2."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


REFLECT = {"name": "reflect", "handler": "reflect/reflect_handler.py"}
# Two requests fill a batch at once; one alone waits.
IN_BATCHES = {"batchSize": 2, "maxBatchDelay": 3000, "minWorkers": 1, "maxWorkers": 1}
V1, V2 = "/v1/models/reflect", "/v2/models/sums/infer"

ENVELOPE_EXAMPLES = (
    Example(
        **REFLECT,
        envelope="body",
        steps=(
            Step(name="bytes", body=b"hello"),
            Step(name="json", body=b'{"a": [1, 2]}', headers=JSON),
            Step(name="form", files={"data": ("a.txt", b"x", "text/plain"), "other": ("b", b"y")}),
        ),
    ),
    Example(
        **REFLECT,
        envelope="json",
        steps=(
            Step(name="one", body=instances(1, "a", None), headers=JSON),
            Step(name="base64", body=instances({"b64": "aGk="}, {"b64": "eW8="}), headers=JSON),
            Step(name="column", body=instances({"a": {"b64": "aGk="}, "n": 1}), headers=JSON),
            Step(name="no instances", body=b'{"x": 1}', headers=JSON, read="status", better=400),
        ),
    ),
    Example(
        name="joined",
        handler="reflect/reflect_handler.py",
        envelope="json",
        config=IN_BATCHES,
        steps=(Step(body=(instances(1, 2, 3), instances(4)), headers=JSON),),
    ),
    Example(
        name="tensors",
        handler="base_handler",
        weights=("linear.pt", scripted("scripted", "Linear", 11)),
        envelope="json",
        steps=(Step(body=instances([1.0, 2.0], [3.0, 4.0]), headers=JSON),),
    ),
    Example(
        **REFLECT,
        envelope="kserve",
        manifest={"envelope": "json"},  # it does not count
        steps=(
            Step(
                name="predict", path=f"{V1}:predict", body=instances(1, {"data": "x"}), headers=JSON
            ),
            Step(name="explain", path=f"{V1}:explain", body=instances([1, 2]), headers=JSON),
            Step(name="as bytes", body=instances("a")),
            Step(name="no instances", body=b"{}", headers=JSON, read="status", better=400),
        ),
    ),
    Example(
        name="sums",
        handler="sums/sums_handler.py",
        envelope="kservev2",
        steps=(
            Step(
                name="one",
                path=V2,
                body=inputs(tensor("x", "INT64", [2, 2], [1, 2, 3, 4]), id="mine"),
                headers=JSON,
            ),
            Step(
                name="several",
                path=V2,
                body=inputs(
                    tensor("a", "FP32", [3], [0.5, 1, 2]),
                    tensor("b", "FP32", [1, 2], [[1.5, 2]]),
                    id="two",
                ),
                headers=JSON,
            ),
            Step(
                name="text",
                path=V2,
                body=inputs(tensor("t", "BYTES", [1], ["hello"]), id="t"),
                headers=JSON,
            ),
            Step(name="no inputs", path=V2, body=b"{}", headers=JSON, read="status", better=400),
        ),
    ),
)
"""Grouped by their ``envelope``."""
