"""The neural network of g2p-en: spells an English word in, phonemes out, one by one.

A GRU reads the letters, another one writes phonemes until it says stop (Park and Kim, 2018).
The dictionary, the homographs and the number speller of that package are not here: what this
model says, it has learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

MAX_PHONEMES: Final = 20
"""Longest answer for one word; the model was trained with this limit."""

LETTERS: Final = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
_PHONEME_TABLE: Final = """
<pad> <unk> <s> </s>
AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH
EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG
OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH
"""
PHONEMES: Final = tuple(_PHONEME_TABLE.split())
_UNKNOWN_LETTER: Final = LETTERS.index("<unk>")
_END_OF_WORD: Final = LETTERS.index("</s>")
_START: Final = PHONEMES.index("<s>")
_STOP: Final = PHONEMES.index("</s>")
_WIDTH: Final = 256

# Name of a parameter here → name of the array in the checkpoint.
_ARRAYS: Final = {
    "letters.weight": "enc_emb",
    "encoder.weight_ih_l0": "enc_w_ih",
    "encoder.weight_hh_l0": "enc_w_hh",
    "encoder.bias_ih_l0": "enc_b_ih",
    "encoder.bias_hh_l0": "enc_b_hh",
    "phonemes.weight": "dec_emb",
    "decoder.weight_ih": "dec_w_ih",
    "decoder.weight_hh": "dec_w_hh",
    "decoder.bias_ih": "dec_b_ih",
    "decoder.bias_hh": "dec_b_hh",
    "output.weight": "fc_w",
    "output.bias": "fc_b",
}


class GraphemesToPhonemes(nn.Module):
    """GRU encoder and decoder over letters and phonemes."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), _WIDTH)
        self.encoder = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        self.phonemes = nn.Embedding(len(PHONEMES), _WIDTH)
        self.decoder = nn.GRUCell(_WIDTH, _WIDTH)
        self.output = nn.Linear(_WIDTH, len(PHONEMES))

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Load the published checkpoint.

        Args:
            arrays: NumPy arrays by the checkpoint's names.

        Raises:
            KeyError: an array is missing.
            RuntimeError: an array has the wrong shape.
        """
        state = {name: torch.from_numpy(arrays[array]) for name, array in _ARRAYS.items()}
        self.load_state_dict(state)

    def speak(self, word: str) -> Iterator[str]:
        """Yield the phonemes of a word in ARPAbet, one decoder step each.

        Args:
            word: lower-case letters; anything else counts as an unknown letter.
        """
        hidden = self._read(word)
        phoneme = _START
        for _ in range(MAX_PHONEMES):
            phoneme, hidden = self._step(phoneme, hidden)
            if phoneme == _STOP:
                return
            yield PHONEMES[phoneme]

    # Inference mode belongs to a thread: it must not stay on while the generator waits.

    @torch.inference_mode()
    def _read(self, word: str) -> Tensor:
        """The encoder's last state, [1, 256]."""
        numbers = [LETTERS.index(c) if c in LETTERS else _UNKNOWN_LETTER for c in word]
        device = self.letters.weight.device
        _, hidden = self.encoder(self.letters(torch.tensor([[*numbers, _END_OF_WORD]]).to(device)))
        state: Tensor = hidden[0]
        return state

    @torch.inference_mode()
    def _step(self, phoneme: int, hidden: Tensor) -> tuple[int, Tensor]:
        token = torch.tensor([phoneme], device=hidden.device)
        hidden = self.decoder(self.phonemes(token), hidden)
        return int(self.output(hidden).argmax().item()), hidden
