"""Base class of handlers whose input is text."""

from __future__ import annotations

import string
import unicodedata
from abc import ABC
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from ..text import get_tokenizer
from ..util import CLEANUP_REGEX
from .base_handler import BaseHandler
from .contractions import expand_contractions
from .vocabulary import load_vocabulary
from .weights import is_pickle_allowed

if TYPE_CHECKING:
    from ..context import Context

_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


class TextHandler(BaseHandler, ABC):
    """Loads a vocabulary, cleans text and explains predictions at the layer ``embedding``.

    Attributes:
        source_vocab: token to number.
        tokenizer: text to list of tokens.
        input_text: for the use of subclasses.
    """

    source_vocab: Any = None
    tokenizer: Any = staticmethod(get_tokenizer("basic_english"))
    input_text: Any = None
    _lig: Any = None

    def initialize(self, context: Context) -> None:
        """Load model, labels and vocabulary.

        Raises:
            RuntimeError: the archive has no vocabulary, or no model.
            LoadFailed: a file needs a full pickle, and that is not allowed.
        """
        super().initialize(context)
        self.source_vocab = load_vocabulary(
            self.get_source_vocab_path(context),
            allow_pickle=is_pickle_allowed(self.model_yaml_config),
        )

    def get_source_vocab_path(self, ctx: Context) -> str:
        """Path of the vocabulary: the manifest's ``sourceVocab`` or ``source_vocab.pt``.

        Raises:
            RuntimeError: there is no such file.
        """
        model = (ctx.manifest or {}).get("model") or {}
        name = model.get("sourceVocab") or "source_vocab.pt"
        path = Path(str(ctx.system_properties.get("model_dir"))) / name
        if not path.is_file():
            msg = f"The vocabulary {name} is missing in the archive; add it as an extra file."
            raise RuntimeError(msg)
        return str(path)

    @property
    def lig(self) -> Any:
        """Captum's ``LayerIntegratedGradients`` at ``model.embedding``, made when first needed."""
        if self._lig is None:
            from captum.attr import LayerIntegratedGradients  # slow to import, seldom needed

            self._lig = LayerIntegratedGradients(self.model, self.model.embedding)
        return self._lig

    @lig.setter
    def lig(self, value: Any) -> None:
        self._lig = value

    def _expand_contractions(self, text: str) -> str:
        return expand_contractions(text)

    def _remove_accented_characters(self, text: str) -> str:
        return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()

    def _remove_html_tags(self, text: str) -> str:
        return CLEANUP_REGEX.sub("", text)

    def _remove_punctuation(self, *args: Any, **kwargs: Any) -> str:
        text = args[0] if args else kwargs["text"]
        return str(text).translate(_NO_PUNCTUATION)

    _remove_puncutation = _remove_punctuation  # the name that older subclasses call

    def _tokenize(self, text: str) -> list[str]:
        tokens: list[str] = self.tokenizer(text)
        return tokens

    def get_word_token(self, input_tokens: Iterable[str]) -> list[str]:
        """Tokens without the mark that byte-pair encodings put before a word."""
        return [token.replace("Ġ", "") for token in input_tokens]

    def summarize_attributions(self, attributions: torch.Tensor) -> torch.Tensor:
        """Scale attributions for display.

        Args:
            attributions: shape (rows, values).

        Returns:
            The softmax of each row, divided by the norm of the rows' sums.
        """
        shares = torch.softmax(attributions, dim=softmax_dimension(attributions))
        scaled: torch.Tensor = shares / torch.norm(shares.sum(dim=-1))
        return scaled


def softmax_dimension(tensor: torch.Tensor) -> int:
    """The axis that text models of old take for granted: the classes'."""
    return 0 if tensor.ndim in {0, 1, 3} else 1
