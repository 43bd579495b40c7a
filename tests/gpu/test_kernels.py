"""Kernels on a real GPU: the 7B's shapes, and a captured graph with new lengths and masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

HEADS, CAPACITY, DIM = 32, 3000, 128


def modules():
    """Triton's kernels, imported only when a test runs, because the import needs Triton."""
    from model.kernels import ring_attention, skinny_linear

    return ring_attention.ring_attention, skinny_linear.skinny_linear


def quantized(numbers: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    from model.quantize import quantize

    return (numbers.to(dtype), None) if dtype == torch.bfloat16 else quantize(numbers, dtype)


def dtypes() -> list[torch.dtype]:
    has_fp8 = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)
    return [torch.bfloat16, torch.int8, *([torch.float8_e4m3fn] if has_fp8 else [])]


@pytest.mark.parametrize("dtype", dtypes())
@pytest.mark.parametrize(
    ("outputs", "depth", "gated"),
    [(12_288, 4096, False), (4096, 4096, False), (22_528, 4096, True), (4096, 11_264, False), (32_000, 4096, False)],
)
def test_products_with_the_shapes_of_the_7b_equal_float64(dtype: torch.dtype, outputs: int, depth: int, gated: bool):
    _, skinny_linear = modules()
    torch.manual_seed(0)
    weight, scale = quantized(torch.randn(outputs, depth, device="cuda"), dtype)
    wide = weight.double() if scale is None else weight.double() * scale[:, None]
    alpha = torch.rand(depth, device="cuda").bfloat16() + 0.5 if gated else None
    x = torch.randn(16, depth, device="cuda").bfloat16()
    normed = x.double()
    if alpha is not None:
        normed = normed * alpha * (normed.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
    expected = normed @ wide.T
    if gated:
        gate, value = expected.chunk(2, -1)
        expected = torch.nn.functional.silu(gate) * value
    whole = skinny_linear(x, weight, scale, alpha=alpha, gated=gated)
    assert (whole.double() - expected).norm() / expected.norm() < 1e-2
    for rows in (1, 2, 7):
        assert torch.equal(skinny_linear(x[:rows], weight, scale, alpha=alpha, gated=gated), whole[:rows])


@pytest.mark.parametrize("dtype", dtypes())
def test_a_captured_attention_graph_uses_new_lengths_and_masks(dtype: torch.dtype):
    ring_attention, _ = modules()
    torch.manual_seed(0)
    slots = 4
    shape = (slots, HEADS, CAPACITY, DIM)
    keys, key_scales = quantized(torch.randn(shape, device="cuda"), dtype)
    values, value_scales = quantized(torch.randn(shape, device="cuda"), dtype)
    query = torch.randn(slots, HEADS, 1, DIM, device="cuda").bfloat16()
    length = torch.zeros(slots, dtype=torch.int64, device="cuda")
    active = torch.ones(slots, dtype=torch.bool, device="cuda")
    ring_attention(query, keys, values, length, active, key_scales, value_scales)  # compile before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        graphed = ring_attention(query, keys, values, length, active, key_scales, value_scales)
    for lengths, mask in (((0, 17, 2999, 3000), (1, 1, 1, 1)), ((700_000, 5, 255, 256), (1, 0, 1, 1))):
        length.copy_(torch.tensor(lengths))
        active.copy_(torch.tensor(mask, dtype=torch.bool))
        graph.replay()
        assert torch.equal(graphed, ring_attention(query, keys, values, length, active, key_scales, value_scales))
        for slot in range(slots):
            held = min(lengths[slot] + 1, CAPACITY)
            row = [
                part[slot, :, :held].double() * (1 if scale is None else scale[slot, :, :held, None])
                for part, scale in ((keys, key_scales), (values, value_scales))
            ]
            exact = (query[slot].double() @ row[0].mT / DIM**0.5).softmax(-1) @ row[1] * mask[slot]
            assert (graphed[slot].double() - exact).abs().max() < 1e-2
