"""The depth transformer: within one frame, each codebook given the text and the codebooks before (Moshi paper, 3.4.1).

Its keys live for one frame only, so it has no state between steps. Codebooks may have weights of their own, or
share them by a schedule (`DepthConfig.weight_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DepthConfig, DuplexConfig
from model.network.layers import Gated, Linear, empty, make_norm


class DepthLayer(nn.Module):
    """Attention and gated feed-forward, each with one set of weights out of several."""

    def __init__(self, config: DepthConfig, weight_sets: int):
        super().__init__()
        widths = config.feedforward[:weight_sets]
        self.heads = config.heads
        self.norm1 = make_norm(config.norm, config.dim)
        self.norm2 = make_norm(config.norm, config.dim)
        self.in_proj = _linears(Linear(config.dim, 3 * config.dim) for _ in widths)
        self.out_proj = _linears(Linear(config.dim, config.dim) for _ in widths)
        self.gating = cast("list[Gated]", nn.ModuleList(Gated(config.dim, width) for width in widths))

    def forward(self, x: Tensor, past: list[Tensor], weights: int) -> Tensor:
        """x [S, D]; `past` holds this frame's keys and values so far, each [S, 2, H, 1, D/H], and takes one more."""
        qkv = self.in_proj[weights](x, self.norm1).unflatten(1, (3, self.heads, 1, -1))
        past.append(qkv.narrow(1, 1, 2))
        keys, values = torch.cat(past, dim=3).unbind(1)  # [S, H, codebooks, D/H]
        attended = F.scaled_dot_product_attention(qkv.select(1, 0), keys, values)
        x = x + self.out_proj[weights](attended.flatten(1))
        return x + self.gating[weights](x, self.norm2)


class Depth(nn.Module):
    """Generates one frame's own codes, codebook by codebook."""

    def __init__(self, config: DuplexConfig):
        super().__init__()
        depth = config.depth
        self.config, self.audio_vocab = depth, config.audio_vocab
        rank = depth.low_rank or depth.dim
        inputs = max(depth.input_of[: config.dep_q]) + 1
        weight_sets = max(depth.weight_of[: config.dep_q]) + 1
        self.input = Linear(config.temporal.dim, inputs * depth.dim)  # one projection a codebook, stacked
        self.text_embedding = empty(config.text_vocab + 1, rank)
        self.audio_embedding = empty((config.dep_q - 1) * (config.audio_vocab + 1), rank)
        self.low_rank = _linears(Linear(rank, depth.dim) for _ in range(config.dep_q if depth.low_rank else 0))
        layers = (DepthLayer(depth, weight_sets) for _ in range(depth.layers))
        self.layers = cast("list[DepthLayer]", nn.ModuleList(layers))
        self.heads = _linears(Linear(depth.dim, config.audio_vocab) for _ in range(config.dep_q))

    def generate(self, text: Tensor, hidden: Tensor, sample: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Text tokens int64 [S] and hidden [S, dim] → own tokens int64 [S, dep_q].

        `sample(logits [S, audio_vocab], codebook)` draws the tokens int64 [S] of one codebook.
        """
        config = self.config
        inputs = self.input(hidden).unflatten(1, (-1, config.dim)).unbind(1)
        pasts: list[list[Tensor]] = [[] for _ in self.layers]
        tokens: list[Tensor] = []
        for step, head in enumerate(self.heads):
            x = inputs[config.input_of[step]] + self._embed(tokens[-1] if tokens else text, step)
            for layer, past in zip(self.layers, pasts, strict=True):
                x = layer(x, past, config.weight_of[step])
            tokens.append(sample(head(x), step))
        return torch.stack(tokens, dim=1)

    def _embed(self, previous: Tensor, step: int) -> Tensor:
        if step == 0:
            vector = F.embedding(previous, self.text_embedding)
        else:
            vector = F.embedding(previous, self.audio_embedding.unflatten(0, (-1, self.audio_vocab + 1))[step - 1])
        return self.low_rank[step](vector) if self.low_rank else vector


def _linears(linears: Iterable[Linear]) -> list[Linear]:
    return cast("list[Linear]", nn.ModuleList(linears))
