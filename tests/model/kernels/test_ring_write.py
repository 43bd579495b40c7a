"""Rotation and the ring's writes in one kernel, against the torch functions that it replaces."""

from __future__ import annotations

import pytest
import torch

from model.kernels.ring_write import rotate_and_write
from model.network.attention import make_window, rotary_steps, rotate
from model.quantize import EIGHT_BIT, dequantize
from model.state import make_ring, write_ring_


@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16, *EIGHT_BIT])
@pytest.mark.parametrize("frames", [1, 2])
def test_ring_write_equals_torch(held: torch.dtype, frames: int, device: torch.device):
    slots, heads, dim, capacity = 2, 2, 16, 5
    computed = torch.bfloat16 if held == torch.bfloat16 else torch.float32
    qkv = torch.randn(slots, frames, 3, heads, dim, device=device).to(computed)
    qkv[0, 0, 2, 0] = 0  # a row of zeros
    length = torch.tensor([3, 100_004], device=device)
    steps = rotary_steps(dim, 10_000, device)
    window = make_window(length, frames, capacity=capacity, span=capacity, steps=steps)
    ours, theirs = (make_ring((slots, heads, capacity, dim), held, device) for _ in range(2))
    query, key = rotate(qkv[:, :, :2], window.rotation).transpose(1, 3).unbind(2)
    write_ring_(theirs, key, qkv[:, :, 2].transpose(1, 2), window.columns)

    found = rotate_and_write(qkv, window.rotation, ours, window.columns)
    near = 1e-2 if computed == torch.bfloat16 else 1e-6
    torch.testing.assert_close(found, query, rtol=near, atol=near)
    for mine, scale, other, their_scale in (
        (ours.keys, ours.key_scales, theirs.keys, theirs.key_scales),
        (ours.values, ours.value_scales, theirs.values, theirs.value_scales),
    ):
        if scale is None or their_scale is None:
            torch.testing.assert_close(mine, other, rtol=near, atol=near)
        else:
            torch.testing.assert_close(scale, their_scale)
            torch.testing.assert_close(
                dequantize(mine, scale, computed), dequantize(other, their_scale, computed), rtol=0, atol=2e-2
            )
            assert (
                mine.view(torch.int8) != other.view(torch.int8)
            ).float().mean() < 0.02  # ties may be rounded differently


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("held", EIGHT_BIT)
def test_nan_and_infinity_give_a_nan_scale(bad: float, held: torch.dtype, device: torch.device):
    qkv = torch.ones(1, 1, 3, 1, 16, device=device)
    qkv[..., 3] = bad
    ring = make_ring((1, 1, 4, 16), held, device)
    window = make_window(torch.tensor([0], device=device), 1, capacity=4, span=4, steps=rotary_steps(16, 1e4, device))
    rotate_and_write(qkv, window.rotation, ring, window.columns)
    assert ring.key_scales is not None and ring.key_scales[0, 0, 0].isnan()
    assert ring.value_scales is not None and ring.value_scales[0, 0, 0].isnan()
