"""The built-in handler ``text_classifier``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import torch

from tsl.protocol.errors import HandlerFailed, InvalidInput, TslError

from ..regroup import refuse_rows
from ..text import ngram_count, ngrams_iterator
from ..timer import timed
from ..util import map_class_to_label
from .text_handler import TextHandler, softmax_dimension


class TextClassifier(TextHandler):
    """Answers the probability of every class of a text.

    The model is called with the token numbers of all rows, shape (numbers,), and the offset of
    each row's first one, shape (rows,); it returns scores of shape (rows, classes).

    Attributes:
        ngrams: longest group of words that has a number of its own.
    """

    ngrams = 2

    @timed
    def preprocess(self, data: Any) -> tuple[torch.Tensor, list[Any]]:
        """Clean, split and number the texts.

        Args:
            data: rows whose ``data`` or ``body`` is text, or bytes of UTF-8.

        Returns:
            The numbers, shape (numbers,), and the tokens: a list for one row, a list of lists
            for several.

        Raises:
            InvalidInput: the only row is no text.
            HandlerFailed: the only row has a word that the vocabulary has no number for.
            Regroup: some rows are such.
        """
        tokens: list[list[str]] = []
        numbers: list[int] = []
        refused: dict[int, TslError] = {}
        for number, row in enumerate(data):
            try:
                words = self._tokenize(self._clean(_text_of(row)))
                numbers += [self._number(gram) for gram in ngrams_iterator(words, self.ngrams)]
                tokens.append(words)
            except (InvalidInput, HandlerFailed) as error:
                refused[number] = error
        refuse_rows(refused, len(data))
        tensor = torch.as_tensor(numbers, dtype=torch.long, device=self.device)
        return tensor, tokens[0] if len(tokens) == 1 else tokens

    def _clean(self, text: str) -> str:
        text = self._remove_html_tags(text).lower()
        text = self._remove_accented_characters(self._expand_contractions(text))
        return self._remove_punctuation(text)

    def _number(self, gram: str) -> int:
        vocabulary = self.source_vocab
        # A plain dict has no number for unknown words, unless it says which.
        if isinstance(vocabulary, dict) and gram not in vocabulary and "<unk>" in vocabulary:
            gram = "<unk>"
        try:
            return int(vocabulary[gram])
        except (KeyError, RuntimeError) as error:  # the latter by vocabularies of torchtext
            msg = f"The vocabulary of the model has no number for {gram[:40]!r}."
            raise HandlerFailed(msg, hint="Add '<unk>' to it for words that it lacks.") from error

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Call the model on what `preprocess` returned."""
        del args, kwargs
        numbers, tokens = data
        lengths = [ngram_count(len(row), self.ngrams) for row in _rows(tokens)]
        offsets = torch.as_tensor([0, *accumulate(lengths[:-1])], device=self.device)
        with torch.inference_mode():
            scores: torch.Tensor = self.model(numbers.to(self.device), offsets)
        return scores

    @timed
    def postprocess(self, data: torch.Tensor) -> list[dict[str, float]]:
        """Turn scores into probabilities of labels, in the order of the classes."""
        probabilities = torch.softmax(data, dim=softmax_dimension(data))
        return map_class_to_label(probabilities.tolist(), self.mapping)

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explain a batch.

        Returns:
            What `get_insights` says about each row; a picture or a page for rows that ask for it.
        """
        from .text_explanations import explain_texts  # pictures are seldom needed

        return explain_texts(self, data_preprocess, raw_data)

    def explain_as_json(self, data_preprocess: Any, raw_data: Any) -> Any:
        """What `get_insights` says about each row."""
        return super().explain_handle(data_preprocess, raw_data)

    def get_insights(self, text_preprocess: Any, _: Any, target: Any = 0) -> list[dict[str, Any]]:
        """Attribute the score of a class to the embedding of each text.

        Args:
            text_preprocess: what `preprocess` returned.
            _: not used.
            target: number of the class, or one for each row.

        Returns:
            For each row its ``words`` and their ``importances``; a model with an EmbeddingBag
            has one importance for each value of the embedding instead.
        """
        numbers, tokens = text_preprocess
        rows = list(_rows(tokens))
        targets = target if isinstance(target, list) else [target] * len(rows)
        offsets = torch.zeros(1, dtype=torch.long, device=self.device)
        answers, start = [], 0
        for row, row_target in zip(rows, targets, strict=True):
            end = start + ngram_count(len(row), self.ngrams)
            part = numbers[start:end]
            attributions = self.lig.attribute(
                part,
                torch.zeros_like(part),
                additional_forward_args=(offsets),
                target=row_target,
            )
            importances = self.summarize_attributions(attributions).tolist()
            answers.append({"importances": importances, "words": self.get_word_token(row)})
            start = end
        return answers


def _rows(tokens: list[Any]) -> Iterator[list[str]]:
    """The tokens of each row, whichever form `TextClassifier.preprocess` gave them."""
    if tokens and isinstance(tokens[0], list):
        yield from tokens
    else:
        yield tokens


def _text_of(row: Any) -> str:
    # Envelopes hand over values without a row around them.
    value = (row.get("data") or row.get("body") or "") if isinstance(row, dict) else row
    if isinstance(value, dict):  # a JSON body that says more than the text
        value = value.get("data")
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError as error:
            msg = "The request body is not UTF-8 text."
            raise InvalidInput(msg) from error
    if not isinstance(value, str):
        msg = "The request body must be text."
        raise InvalidInput(msg, hint="Send it with Content-Type: text/plain.")
    return value
