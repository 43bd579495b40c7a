"""Attention over a ring against the plain formula, and rotary angles at large positions."""

from __future__ import annotations

import math

import pytest
import torch

from model.network.attention import CHUNK_KEYS, attend, make_window, rotary_steps, rotate, span_of
from model.state import Ring, make_ring, write_ring_


def plain(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, context: int) -> torch.Tensor:
    """Causal attention with a window, all positions at once: [H, N, D]."""
    at = torch.arange(queries.shape[1])
    apart = at[:, None] - at
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    return scores.masked_fill((apart < 0) | (apart >= context), -torch.inf).softmax(-1) @ values


@pytest.mark.parametrize("context", [7, 64, CHUNK_KEYS + 60])
def test_attention_over_a_ring_equals_a_sliding_window(context: int):
    count, heads, dim = 2 * context + 5, 2, 8
    queries, keys, values = torch.randn(3, heads, count, dim, generator=torch.Generator().manual_seed(0))
    ring = Ring(torch.zeros(1, heads, context, dim), torch.zeros(1, heads, context, dim))
    steps = rotary_steps(dim, 10_000, torch.device("cpu"))
    seen = []
    for position in range(count):
        length = torch.tensor([position])
        window = make_window(length, 1, capacity=context, span=span_of(position, 1, context), steps=steps)
        now = slice(position, position + 1)
        write_ring_(ring, keys[None, :, now], values[None, :, now], window.columns)
        seen.append(attend(queries[None, :, now], ring, window)[0])
    assert torch.allclose(torch.cat(seen, 1), plain(queries, keys, values, context), atol=1e-5)


@pytest.mark.parametrize(("dtype", "near"), [(torch.int8, 0.05), (torch.float8_e4m3fn, 0.15)])
@pytest.mark.parametrize("context", [64, CHUNK_KEYS + 60])
def test_attention_over_an_8_bit_ring_is_near_exact(context: int, dtype: torch.dtype, near: float):
    """Each head and column has its own scale, so one large key does not make others less precise."""
    heads, dim, frames = 2, 32, 8
    rng = torch.Generator().manual_seed(0)
    ring = make_ring((2, heads, context, dim), dtype, torch.device("cpu"))
    keys, values = torch.randn(2, 2, heads, context, dim, generator=rng)
    keys[:, 0, 5] *= 100
    values[:, 1, 7] *= 100
    columns = torch.arange(context).expand(2, -1)
    for at in columns[0].split(frames):
        write_ring_(ring, keys[:, :, at], values[:, :, at], columns[:, at])
    query = torch.randn(2, heads, 1, dim, generator=rng)
    query[:, 0, 0] = 0  # so the result is the mean of all values
    steps = rotary_steps(dim, 10_000, torch.device("cpu"))
    window = make_window(torch.tensor([context, 3 * context]), 1, capacity=context, span=context, steps=steps)
    seen, exact = attend(query, ring, window), attend(query, Ring(keys, values), window)
    assert ((seen - exact).norm(dim=-1) < near * exact.norm(dim=-1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_a_slots_result_does_not_depend_on_a_longer_neighbour(dtype: torch.dtype):
    """A longer neighbour makes a step read more chunks of the ring; a short call's result is equal bit for bit."""
    context, heads, dim = 4 * CHUNK_KEYS, 2, 16
    ring = make_ring((2, heads, context, dim), dtype, torch.device("cpu"))
    keys, values = torch.randn(2, 2, heads, context, dim, generator=torch.Generator().manual_seed(0))
    write_ring_(ring, keys, values, torch.arange(context).expand(2, -1))
    query = torch.randn(2, heads, 1, dim)
    steps = rotary_steps(dim, 10_000, torch.device("cpu"))
    outcomes = []
    for neighbour in (10, 300, 1000):
        span = span_of(max(40, neighbour), 1, context)
        window = make_window(torch.tensor([40, neighbour]), 1, capacity=context, span=span, steps=steps)
        outcomes.append(attend(query, ring, window)[0])
    assert torch.equal(outcomes[0], outcomes[1])
    assert torch.equal(outcomes[0], outcomes[2])


def test_two_positions_at_once_attend_as_in_the_reference():
    """Both keys of a frame are written before either is read, so in a full ring the first position sees one fewer."""
    context = 6
    steps = rotary_steps(8, 10_000, torch.device("cpu"))
    visible = make_window(torch.tensor([20]), 2, capacity=context, span=context, steps=steps).visible
    assert visible is not None and visible[0, 0].sum(-1).tolist() == [context - 1, context]


@pytest.mark.parametrize("position", [0, 1, 1_000, 45_000, 12_500 * 3600 * 24 // 1000])
def test_rotary_angles_stay_accurate_for_a_day(position: int):
    steps = rotary_steps(64, 10_000, torch.device("cpu"))
    window = make_window(torch.tensor([position]), 1, capacity=10, span=10, steps=steps)
    exact = position * 10_000.0 ** (-torch.arange(32, dtype=torch.float64) / 32)
    off = window.rotation.flatten().to(torch.complex128) * torch.polar(torch.ones(32, dtype=torch.float64), -exact)
    assert off.angle().abs().max() < 5e-5


def test_rotation_depends_on_distance_only():
    steps = rotary_steps(16, 10_000, torch.device("cpu"))
    query, key = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

    def score(at: int, distance: int) -> torch.Tensor:
        here = make_window(torch.tensor([at]), 1, capacity=9, span=9, steps=steps).rotation
        there = make_window(torch.tensor([at - distance]), 1, capacity=9, span=9, steps=steps).rotation
        return (rotate(query.view(1, 1, 1, 1, 16), here) * rotate(key.view(1, 1, 1, 1, 16), there)).sum()

    assert torch.allclose(score(10, 7), score(100_000, 7), atol=1e-3)
