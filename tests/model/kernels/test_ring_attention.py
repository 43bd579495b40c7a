"""The ring kernels against float64 over the visible columns; every other column holds NaN and infinity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.kernels.ring_attention import ring_attention
from model.network.attention import make_window, rotary_steps

EIGHT_BIT = (torch.int8, torch.float8_e4m3fn)


def visible(length: Tensor, frames: int, capacity: int) -> Tensor:
    """Which columns each query sees: bool [S, 1, T, C]."""
    steps = rotary_steps(2, 10_000, length.device)
    seen = make_window(length, frames, capacity=capacity, span=capacity, steps=steps).visible
    assert seen is not None
    return seen


def exact(query: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    scores = query.double() @ keys.double().mT / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return weights @ values.double().masked_fill(~seen.any(2)[..., None], 0)


def held(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Random numbers in the dtype of a ring, and their scales if they have 8 bits."""
    numbers = torch.randn(shape, device=device)
    if dtype not in EIGHT_BIT:
        return numbers.to(dtype), None
    return (numbers * 30).clamp(-127, 127).to(dtype), 0.02 + 0.02 * torch.rand(shape[:-1], device=device)


def poison(numbers: Tensor, scales: Tensor | None, unseen: Tensor) -> None:
    """Write NaN and infinity into the columns of the mask `unseen`, bool [S, 1, C]."""
    where = unseen.expand(numbers.shape[:-1])
    if numbers.dtype not in EIGHT_BIT:
        numbers[where] = (
            torch.tensor([torch.nan, torch.inf], device=numbers.device).repeat(numbers.shape[-1] // 2).to(numbers.dtype)
        )
    if scales is not None:
        scales[where] = torch.nan


@pytest.mark.parametrize(
    ("dtype", "frames", "capacity", "dim", "lengths"),
    [
        (torch.bfloat16, 1, 300, 128, (0, 5, 255, 256, 299, 300, 100_000)),
        (torch.float32, 2, 250, 64, (0, 1, 248, 249, 250, 12_345)),  # Mimi's: one split, so nothing is joined
        (torch.float16, 2, 37, 16, (0, 35, 36, 37, 90_001)),
        (torch.int8, 2, 520, 128, (255, 519, 777)),
        (torch.float8_e4m3fn, 1, 300, 128, (17, 298, 1_000)),
        (torch.float32, 1, 2_300, 128, (2_200,)),  # more shares than are joined at once
    ],
)
def test_ring_attention_reads_visible_columns_only(
    dtype: torch.dtype, frames: int, capacity: int, dim: int, lengths: tuple[int, ...], device: torch.device
):
    heads, length = 2, torch.tensor(lengths, device=device)
    computed = torch.float32 if dtype in EIGHT_BIT else dtype
    query = torch.randn(len(lengths), frames, heads, dim, device=device).to(computed).transpose(1, 2)
    shape = (len(lengths), heads, capacity, dim)
    (keys, key_scales), (values, value_scales) = held(shape, dtype, device), held(shape, dtype, device)
    seen = visible(length, frames, capacity)
    unseen = ~seen.any(2)
    poison(keys, key_scales, unseen)
    poison(values, value_scales, unseen)
    found = ring_attention(query, keys, values, length, None, key_scales, value_scales)
    if key_scales is not None and value_scales is not None:
        keys, values = keys.float() * key_scales[..., None], values.float() * value_scales[..., None]
    assert found.dtype == query.dtype
    error = (found.double() - exact(query, keys.nan_to_num(0, 0, 0), values, seen)).abs().max()
    assert error < {torch.bfloat16: 2e-2, torch.float16: 2e-3}.get(dtype, 2e-6)


def test_an_idle_slots_result_is_zero_even_if_its_ring_has_nan(device: torch.device):
    for capacity in (40, 300):  # in one split and in two
        keys = torch.full((2, 1, capacity, 128), torch.nan, device=device)
        query = torch.full((2, 1, 1, 128), torch.nan, device=device)
        length = torch.tensor([7, 1_000], device=device)
        idle = torch.zeros(2, dtype=torch.bool, device=device)
        assert torch.equal(ring_attention(query, keys, keys, length, idle), torch.zeros_like(query))


def test_a_slots_result_does_not_depend_on_its_neighbours(device: torch.device):
    heads, capacity, dim = 2, 700, 64
    keys, values = torch.randn(2, 3, heads, capacity, dim, device=device)
    query = torch.randn(3, heads, 1, dim, device=device)
    alone = ring_attention(query[:1], keys[:1], values[:1], torch.tensor([400], device=device), None)
    for lengths, active in (((400, 3, 5_000), (True, True, True)), ((400, 699, 0), (True, False, True))):
        length, mask = torch.tensor(lengths, device=device), torch.tensor(active, device=device)
        assert torch.equal(ring_attention(query, keys, values, length, mask)[:1], alone)
