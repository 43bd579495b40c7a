"""The temporal transformer: one position a frame, over the sum of all streams' embeddings (Moshi paper, 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DuplexConfig
from model.network.layers import Linear, empty, make_norm
from model.network.transformer import StreamingTransformer, TransformerState


class Temporal(nn.Module):
    """Embeds columns of tokens, runs the transformer over them, and gives the logits of the text token."""

    def __init__(self, config: DuplexConfig):
        super().__init__()
        dim = config.temporal.dim
        self.audio_vocab = config.audio_vocab
        self.audio_embedding = empty(
            config.n_q * (config.audio_vocab + 1), dim
        )  # the streams' tables, one after another
        self.text_embedding = empty(config.text_vocab + 1, dim)
        self.transformer = StreamingTransformer(config.temporal)
        self.norm = make_norm(config.temporal.norm, dim)
        self.text_head = Linear(dim, config.text_vocab_out)

    def make_state(self, slots: int, kv_dtype: torch.dtype | None = None) -> TransformerState:
        """A fresh state; keys and values in `kv_dtype`."""
        return self.transformer.make_state(slots, kv_dtype)

    def forward(
        self, tokens: Tensor, state: TransformerState, active: Tensor | None, longest: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Columns of tokens int64 [S, T, 1 + n_q] (text first) → hidden [S, T, dim], logits [S, T, text_vocab_out].

        Any number of columns that fits in the context; a live step takes one.
        """
        hidden = self.norm(self.transformer(self._embed(tokens), state, active, longest))
        return hidden, self.text_head(hidden)

    def _embed(self, tokens: Tensor) -> Tensor:
        text, audio = tokens[..., 0], tokens[..., 1:]
        first_row = torch.arange(audio.shape[-1], device=tokens.device) * (self.audio_vocab + 1)
        return F.embedding(audio + first_row, self.audio_embedding).sum(-2) + F.embedding(text, self.text_embedding)
