"""Handler of a text-embedding model: all-MiniLM-L6-v2 in plain torch, mean of the tokens, length 1.

It runs inside of workers. The weights and the vocabulary are files of the archive.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn.functional import gelu, layer_norm, linear, normalize, scaled_dot_product_attention

_HEADS = 12
_LAYERS = 6
_EPSILON = 1e-12


class Embedding:
    """One vector of 384 numbers for each text."""

    def initialize(self, context: Any) -> None:
        """Load weights and vocabulary."""
        folder = Path(context.system_properties["model_dir"])
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """JSON arrays."""
        del context
        bodies = [row.get("data") or row.get("body") or b"" for row in data]
        texts = [text if isinstance(text, str) else bytes(text).decode() for text in bodies]
        encoded = self.tokenizer.encode_batch(texts)
        ids = torch.tensor([each.ids for each in encoded])
        mask = torch.tensor([each.attention_mask for each in encoded])
        with torch.inference_mode():
            vectors = self.embed(ids, mask)
        return [json.dumps([round(value, 5) for value in row]) for row in vectors.tolist()]

    def embed(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Vectors of texts, shape (texts, 384), from tokens and their mask, (texts, tokens)."""
        w = self.weights
        rows, length = ids.shape
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][:length]
        x = self.norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        seen = mask[:, None, None, :].bool()
        for number in range(_LAYERS):
            name = f"encoder.layer.{number}"
            q, k, v = (
                self.dense(x, f"{name}.attention.self.{part}")
                .view(rows, length, _HEADS, -1)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = scaled_dot_product_attention(q, k, v, attn_mask=seen)
            mixed = mixed.transpose(1, 2).reshape(rows, length, -1)
            mixed = self.dense(mixed, f"{name}.attention.output.dense")
            x = self.norm(x + mixed, f"{name}.attention.output.LayerNorm")
            wide = gelu(self.dense(x, f"{name}.intermediate.dense"))
            x = self.norm(x + self.dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        weight = mask[:, :, None].to(x.dtype)
        return normalize((x * weight).sum(1) / weight.sum(1))

    def dense(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """A linear layer."""
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """A layer norm."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(x, (x.shape[-1],), weight, bias, _EPSILON)
