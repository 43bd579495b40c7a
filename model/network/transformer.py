"""The streaming transformer that Moshi's temporal model and both of Mimi's transformers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from model.config import TransformerConfig
from model.network.attention import (
    AttentionWindow,
    attend,
    make_window,
    rotary_steps,
    rotate_and_write,
    span_of,
    suits_kernel,
)
from model.network.layers import FeedForward, Gated, Linear, empty, make_norm
from model.state import Ring, commit_, make_ring


@dataclass(frozen=True, slots=True)
class TransformerState:
    """What a transformer remembers: how many positions each slot has taken, and their keys and values."""

    length: Tensor  # int64 [S]
    rings: tuple[Ring, ...]  # one a layer


class Layer(nn.Module):
    """Pre-norm self-attention and feed-forward, each added to its input, perhaps scaled (`layer_scale`)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        dim = config.dim
        self.heads, self.head_dim = config.heads, dim // config.heads
        self.norm1 = make_norm(config.norm, dim)
        self.norm2 = make_norm(config.norm, dim)
        self.in_proj = Linear(dim, 3 * dim)
        self.out_proj = Linear(dim, dim)
        self.feedforward = Gated(dim, config.feedforward) if config.gated else FeedForward(dim, config.feedforward)
        self.scale_1 = empty(dim) if config.layer_scale else None
        self.scale_2 = empty(dim) if config.layer_scale else None

    def forward(self, x: Tensor, ring: Ring, window: AttentionWindow) -> Tensor:  # [S, T, D]
        x = _added(x, self._attention(x, ring, window), self.scale_1)
        return _added(x, self.feedforward(x, self.norm2), self.scale_2)

    def _attention(self, x: Tensor, ring: Ring, window: AttentionWindow) -> Tensor:
        qkv = self.in_proj(x, self.norm1).unflatten(-1, (3, self.heads, self.head_dim))
        attended = attend(rotate_and_write(qkv, ring, window), ring, window)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class StreamingTransformer(nn.Module):
    """Layers over a ring of the last `config.context` positions."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.layers = cast("list[Layer]", nn.ModuleList(Layer(config) for _ in range(config.layers)))
        self._rotary_steps: Tensor | None = None

    def make_state(self, slots: int, kv_dtype: torch.dtype | None = None) -> TransformerState:
        """A fresh state on the weights' device; keys and values in `kv_dtype` (None: the weights' dtype)."""
        config, like = self.config, next(self.layers[0].norm1.parameters())  # which is never in 8 bits
        shape = (slots, config.heads, config.context, config.dim // config.heads)
        rings = tuple(make_ring(shape, kv_dtype or like.dtype, like.device) for _ in range(config.layers))
        return TransformerState(torch.zeros(slots, dtype=torch.int64, device=like.device), rings)

    def forward(self, x: Tensor, state: TransformerState, active: Tensor | None, longest: int | None = None) -> Tensor:
        """Take T new positions of every slot: [S, T, D] → [S, T, D].

        `longest` bounds the positions that any live slot has taken (None: unknown, read the whole ring).
        """
        config, frames = self.config, x.shape[1]
        if self._rotary_steps is None:
            self._rotary_steps = rotary_steps(config.dim // config.heads, config.max_period, x.device)
        span = span_of(config.context if longest is None else longest, frames, config.context)
        window = make_window(
            state.length,
            frames,
            capacity=config.context,
            span=span,
            steps=self._rotary_steps,
            active=active,
            by_kernel=suits_kernel(x, config.dim // config.heads),
        )
        for layer, ring in zip(self.layers, state.rings, strict=True):
            x = layer(x, ring, window)
        commit_(state.length, state.length + frames, active)
        return x


def _added(x: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
    return x + y if scale is None else torch.addcmul(x, y, scale)
