"""What every peer is asked to do: the same functions, whatever serves them.

This file is copied beside the service of each peer and packed into archives, so it imports
nothing of the benchmark, and torch only for the classifier.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TEXT = "token "
"""One chunk of a stream."""

MODEL_FOLDER = "BENCH_MODEL"
"""Variable with the folder of the classifier's weights, code and class names."""


def setting(name: str) -> int:
    """A number from the environment: ``batch``, ``delay_ms``, ``workers`` or ``port``.

    Raises:
        KeyError: it is not there.
    """
    return int(os.environ[f"BENCH_{name.upper()}"])


def work() -> str:
    """``echo``, ``stream`` or ``classify``."""
    return os.environ["BENCH_WORK"]


def function() -> Callable[[Sequence[bytes]], list[bytes]]:
    """What to do with a batch, ready to be called: answers in the order of the bodies."""
    if work() == "classify":
        return Classifier(Path(os.environ[MODEL_FOLDER]))
    return echo


def echo(bodies: Sequence[bytes]) -> list[bytes]:
    """The bodies."""
    return [bytes(body) for body in bodies]


class Classifier:
    """The demo's classifier on one thread, as it was saved but for folded batch norms.

    Args:
        folder: with ``efficientnet_lite.py``, ``pictures.py``, ``weights.pth`` and
            ``index_to_name.json``.
    """

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(folder))
        import torch
        from efficientnet_lite import EfficientNetLite0  # type: ignore[import-not-found]
        from pictures import prepare  # type: ignore[import-not-found]
        from PIL import Image

        torch.set_num_threads(1)
        self._torch = torch
        self._open = Image.open
        self._prepare = prepare
        self._names = json.loads((folder / "index_to_name.json").read_text(encoding="utf-8"))
        model = EfficientNetLite0()
        model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
        model.eval()
        model.fold_batch_norm()
        self._model: Any = model

    def __call__(self, bodies: Sequence[bytes]) -> list[bytes]:
        """The five most probable classes of each picture, as JSON."""
        torch = self._torch
        with torch.inference_mode():
            pictures = [self._prepare(self._open(io.BytesIO(body))) for body in bodies]
            scores = self._model(torch.stack(pictures)).softmax(1)
            values, places = scores.topk(5)
        answers = []
        for row, numbers in zip(values.tolist(), places.tolist(), strict=True):
            pairs = zip(numbers, row, strict=True)
            answer = {self._names[str(number)]: round(value, 3) for number, value in pairs}
            answers.append(json.dumps(answer).encode())
        return answers
