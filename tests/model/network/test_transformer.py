"""Long calls: many windows of a transformer equal the plain formula over all positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import TransformerConfig
from model.network.transformer import StreamingTransformer
from model.state import nbytes

CONTEXT = 7
CONFIG = TransformerConfig(
    dim=16, heads=2, layers=2, context=CONTEXT, feedforward=48, norm="rms_norm_f32", gated=True, layer_scale=False
)
TEN_HOURS = 10 * 3600 * 25 // 2  # in frames


@pytest.fixture
def transformer() -> StreamingTransformer:
    rng = torch.Generator().manual_seed(0)
    transformer = StreamingTransformer(CONFIG).to_empty(device="cpu")
    for parameter in transformer.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng) / math.sqrt(parameter.shape[-1]))
    return transformer


def rotated(x: Tensor, begins_at: int) -> Tensor:
    """Queries or keys [N, H, D], rotated as in RoFormer, in float64."""
    count, _, dim = x.shape
    periods = CONFIG.max_period ** (torch.arange(dim // 2, dtype=torch.float64) * 2 / dim)
    angles = (begins_at + torch.arange(count, dtype=torch.float64))[:, None, None] / periods
    even, odd = x[..., ::2], x[..., 1::2]
    turned = torch.stack([even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()], -1)
    return turned.flatten(-2)


def plain(transformer: StreamingTransformer, x: Tensor, begins_at: int) -> Tensor:
    """All positions [N, D] at once, each seeing the last `CONTEXT`."""
    count = len(x)
    apart = torch.arange(count)[:, None] - torch.arange(count)
    hidden = (apart < 0) | (apart >= CONTEXT)
    for layer in transformer.layers:
        qkv = F.linear(layer.norm1(x), layer.in_proj.weight).view(count, 3, CONFIG.heads, -1)
        query, key = rotated(qkv[:, 0], begins_at).transpose(0, 1), rotated(qkv[:, 1], begins_at).transpose(0, 1)
        scores = (query @ key.mT / math.sqrt(query.shape[-1])).masked_fill(hidden, -torch.inf)
        attended = (scores.softmax(-1).float() @ qkv[:, 2].transpose(0, 1)).transpose(0, 1).flatten(1)
        x = x + F.linear(attended, layer.out_proj.weight)
        feedforward = layer.feedforward
        gate, value = F.linear(layer.norm2(x), feedforward.linear_in.weight).chunk(2, dim=-1)  # type: ignore[union-attr]
        x = x + F.linear(F.silu(gate) * value, feedforward.linear_out.weight)  # type: ignore[union-attr]
    return x


@pytest.mark.parametrize("begins_at", [0, TEN_HOURS])
@torch.inference_mode()
def test_ten_windows_equal_the_plain_formula(transformer: StreamingTransformer, begins_at: int):
    x = torch.randn(10 * CONTEXT, CONFIG.dim, generator=torch.Generator().manual_seed(1))
    state = transformer.make_state(1)
    state.length.fill_(begins_at)
    before = nbytes(state)
    stepped = torch.cat([transformer(position[None, None], state, None)[0] for position in x])
    assert nbytes(state) == before
    assert state.length.tolist() == [begins_at + len(x)]
    # After hours the ring is full, here of zeros, which affect each layer for one window.
    settled = 0 if begins_at == 0 else CONFIG.layers * CONTEXT
    assert torch.allclose(stepped[settled:], plain(transformer, x, begins_at)[settled:], atol=1e-4)
