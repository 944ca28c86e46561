"""Handler of the demo model ``g2p``: streams the pronunciation of English words.

Each phoneme is sent as soon as the model has produced it. The texts of a batch take turns, so
that each of them streams; a text that cannot be spoken is refused by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy
from texts import (  # type: ignore[import-not-found]  # beside this file in the archive
    Speech,
    UnusableText,
    read_speech,
    refuse,
)

from ts.context import Context
from ts.handler_utils.utils import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class G2pHandler(BaseHandler):
    """Answers with a line of phonemes for each word, phoneme by phoneme."""

    def _load_pickled_model(
        self, model_dir: str, model_file: str, model_pt_path: str | None
    ) -> Any:
        """Build the model; its weights are plain arrays, not a state dict."""
        model = super()._load_pickled_model(model_dir, model_file, None)
        with numpy.load(str(model_pt_path), allow_pickle=False) as arrays:
            model.load_arrays(arrays)
        return model

    def preprocess(self, data: Any) -> list[Speech | str]:
        """Read the rows; a row that cannot be read becomes the text of its refusal."""
        return [_read(row) for row in data]

    def inference(self, data: list[Speech | str], *_: Any, **__: Any) -> list[str]:
        """Stream all speeches.

        Returns:
            The last chunk of each row: the end of its last line, or the whole refusal.
        """
        speeches = {idx: each for idx, each in enumerate(data) if not isinstance(each, str)}
        for idx in range(len(data)):
            if idx in speeches:
                self.context.set_response_content_type(idx, "text/plain; charset=utf-8")
            else:
                self.context.set_response_content_type(idx, "application/json")
                self.context.set_response_status(400, "Bad Request", idx)
        self._stream(speeches, len(data))
        return [each if isinstance(each, str) else "\n" for each in data]

    def postprocess(self, data: list[str]) -> list[str]:
        """Nothing is left to do."""
        return data

    def _stream(self, speeches: dict[int, Speech], rows: int) -> None:
        """Send a phoneme of each speech in turn, until all are through.

        Raises:
            ClientDisconnected: no client of the batch is there any more.
        """
        ids = self.context.request_ids
        streams = {idx: self._chunks(speech) for idx, speech in speeches.items()}
        while streams:
            chunks = [""] * rows
            for idx, stream in list(streams.items()):
                chunk = None if _is_cancelled(self.context, idx) else next(stream, None)
                if chunk is None:
                    del streams[idx]
                else:
                    chunks[idx] = chunk
            if streams:
                receivers = {idx: ids[idx] for idx in streams}
                send_intermediate_predict_response(
                    chunks, receivers, "Intermediate Prediction success", 200, self.context
                )
                time.sleep(max(speeches[idx].delay_s for idx in streams))

    def _chunks(self, speech: Speech) -> Iterator[str]:
        """The text of a speech, one phoneme at a time."""
        for number, word in enumerate(speech.words):
            separator = "\n" if number else ""
            for phoneme in self.model.speak(word):
                yield separator + phoneme
                separator = " "


def _read(row: Any) -> Speech | str:
    try:
        return read_speech(row)
    except UnusableText as error:
        return str(refuse(str(error)))


def _is_cancelled(context: Context, idx: int) -> bool:
    # Other servers of this handler interface do not say.
    is_cancelled = getattr(context, "is_cancelled", None)
    return bool(is_cancelled and is_cancelled(idx))
