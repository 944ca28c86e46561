"""Stream the text that a Hugging Face model generates for a whole batch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any


class TextIteratorStreamerBatch:
    """A streamer for ``model.generate(streamer=...)`` that yields one piece for each row.

    Generate in a thread of its own and iterate here. Each step of the iteration gives a list
    ``[{"text": ...}, ...]``, in the order of the rows; it ends as soon as one row has ended.

    Args:
        tokenizer: decodes the tokens.
        batch_size: rows of the batch.
        skip_prompt: leave out the prompt, which the model gives first.
        timeout: seconds to wait for a piece; None waits for ever.
        **decode_kwargs: arguments of ``tokenizer.decode``.

    Raises:
        ImportError: the package transformers is not installed.
    """

    def __init__(
        self,
        tokenizer: Any,
        batch_size: int,
        skip_prompt: bool = False,
        timeout: float | None = None,
        **decode_kwargs: Any,
    ) -> None:
        try:
            streamers = importlib.import_module("transformers.generation.streamers")
        except ModuleNotFoundError as error:
            msg = (
                "TextIteratorStreamerBatch needs the package transformers: pip install transformers"
            )
            raise ImportError(msg) from error
        self.batch_size = batch_size
        self.timeout = timeout
        self.streamers = [
            streamers.TextIteratorStreamer(tokenizer, skip_prompt, timeout, **decode_kwargs)
            for _ in range(batch_size)
        ]

    def put(self, value: Any) -> None:
        """Take the next tokens.

        Args:
            value: shape (rows,) or (rows, tokens).

        Raises:
            ValueError: it has another number of rows.
        """
        if value.shape[0] != self.batch_size:
            msg = f"The streamer is for {self.batch_size} rows, the model gave {value.shape[0]}."
            raise ValueError(msg)
        for streamer, tokens in zip(self.streamers, value, strict=True):
            # One row of a batch; a single token has no dimension left.
            streamer.put(tokens.unsqueeze(0) if tokens.ndim == 0 else tokens)

    def end(self) -> None:
        """There are no more tokens."""
        for streamer in self.streamers:
            streamer.end()

    def __iter__(self) -> Iterator[list[dict[str, str]]]:
        return self

    def __next__(self) -> list[dict[str, str]]:
        return [{"text": next(streamer)} for streamer in self.streamers]
