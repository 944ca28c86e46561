"""Read the vocabulary of a text model: a mapping from token to number, in any of its formats.

torchtext is not needed, and its pickles are read without running what is in them: the two
classes that it has had for vocabularies are replaced by ours while a file is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from tsl.protocol.errors import LoadFailed

from .weights import load_file


class Vocabulary:
    """A vocabulary that torchtext wrote, in the form that it had until version 0.8.

    Attributes:
        stoi: number by token.
        default_index: number of unknown tokens, None without one.
    """

    def __init__(self, stoi: Mapping[str, int], default_index: int | None = None) -> None:
        self.stoi = dict(stoi)
        self.default_index = default_index

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        stoi = dict(state["stoi"])
        self.__init__(stoi, state.get("unk_index", stoi.get("<unk>")))  # type: ignore[misc]

    def __contains__(self, token: object) -> bool:
        return token in self.stoi

    def __len__(self) -> int:
        return len(self.stoi)

    def __getitem__(self, token: str) -> int:
        number = self.stoi.get(token, self.default_index)
        if number is None:
            raise KeyError(token)
        return number


class _TokenList(Vocabulary):
    """The native part of a vocabulary since torchtext 0.9: version, default, tokens, tensors."""

    def __setstate__(self, state: Any) -> None:
        _, default, tokens, _ = state
        numbers = {token: number for number, token in enumerate(tokens)}
        self.__init__(numbers, default[0] if default else None)  # type: ignore[misc]


class _Module(Vocabulary):
    """A vocabulary since torchtext 0.9: a module around its native part."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        native = state["vocab"]
        self.__init__(native.stoi, native.default_index)  # type: ignore[misc]


_OF_TORCHTEXT: Final[list[Any]] = [
    (Vocabulary, "torchtext.vocab.Vocab"),
    (_Module, "torchtext.vocab.vocab.Vocab"),
    (_TokenList, "torchtext._torchtext.Vocab"),
]


def load_vocabulary(path: str, *, allow_pickle: bool = False) -> Any:
    """Read a vocabulary.

    Args:
        path: a ``.json`` file (an object, or a list of tokens), a ``.txt`` file with one token
            a line, or what ``torch.save`` wrote of a dict, a list of tokens or a vocabulary of
            torchtext.
        allow_pickle: run the pickled code if the file needs it.

    Returns:
        Something that has a number for each token, by ``vocabulary[token]``.

    Raises:
        LoadFailed: this is no vocabulary, or it needs a full pickle, and that is not allowed.
    """
    name, suffix = Path(path).name, Path(path).suffix
    if suffix == ".txt":
        found: Any = Path(path).read_text(encoding="utf-8").splitlines()
    elif suffix == ".json":
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            msg = f"The vocabulary {name} is not valid JSON: {error}"
            raise LoadFailed(msg) from error
    else:
        with torch.serialization.safe_globals(_OF_TORCHTEXT):
            found = load_file(path, allow_pickle=allow_pickle)
    if isinstance(found, list) and all(isinstance(token, str) for token in found):
        return {token: number for number, token in enumerate(found)}
    if not hasattr(found, "__getitem__") or isinstance(found, list | torch.Tensor):
        msg = f"{name} holds a {type(found).__name__}, not a vocabulary of numbers by token."
        raise LoadFailed(msg, hint="Save a dict such as {'<unk>': 0, 'good': 1}.")
    return found
