"""Products of a few rows against float64: dtypes, odd sizes, norms, gates, and rows isolated from each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.kernels import available
from model.kernels.skinny_linear import skinny_linear, tiles_for

EIGHT_BIT = (torch.int8, torch.float8_e4m3fn)


def held(outputs: int, depth: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """A random weight, and its scale if it has 8 bits."""
    weight = torch.randn(outputs, depth, device=device)
    if dtype not in EIGHT_BIT:
        return weight.to(dtype), None
    return (weight * 30).clamp(-127, 127).to(dtype), 0.02 + 0.02 * torch.rand(outputs, device=device)


def exact(x: Tensor, weight: Tensor, scale: Tensor | None, alpha: Tensor | None = None, gated: bool = False) -> Tensor:
    """The same in float64 torch: norm, product, gate."""
    x, weight = x.double(), weight.double()
    if scale is not None:
        weight = weight * scale[:, None]
    if alpha is not None:
        x = x * alpha * (x.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
    product = x @ weight.T
    if not gated:
        return product
    gate, value = product.chunk(2, -1)
    return F.silu(gate) * value


def off(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, *EIGHT_BIT])
@pytest.mark.parametrize(("rows", "outputs", "depth"), [(1, 34, 70), (5, 40, 300), (16, 64, 256), (20, 30, 96)])
def test_products_equal_float64(dtype: torch.dtype, rows: int, outputs: int, depth: int, device: torch.device):
    weight, scale = held(outputs, depth, dtype, device)
    x = torch.randn(rows, depth, device=device).to(torch.bfloat16 if dtype in EIGHT_BIT else dtype)
    found = skinny_linear(x, weight, scale)
    assert found.dtype == x.dtype
    assert off(found, exact(x, weight, scale)) < (1e-6 if x.dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
@pytest.mark.parametrize(("gated", "normed"), [(True, False), (False, True), (True, True)])
def test_products_with_norms_and_gates_equal_float64(
    dtype: torch.dtype, gated: bool, normed: bool, device: torch.device
):
    weight, scale = held(36, 300, dtype, device)
    x = 3 * torch.randn(2, 1, 300, device=device)
    alpha = torch.rand(300, device=device) + 0.5 if normed else None
    found = skinny_linear(x, weight, scale, alpha=alpha, gated=gated)
    assert found.shape == (2, 1, 18 if gated else 36)
    assert off(found, exact(x, weight, scale, alpha, gated)) < 1e-6


def test_few_outputs_split_the_depth(device: torch.device):
    assert tiles_for(3, 20, 1100, 4, 4).splits == 2
    weight, _ = held(20, 1100, torch.float32, device)
    x = torch.randn(3, 1100, device=device)
    assert off(skinny_linear(x, weight), exact(x, weight, None)) < 1e-6


@pytest.mark.parametrize("outputs", [32_000, 22_528, 12_288, 4_096, 3_072, 2_048, 1_024])
@pytest.mark.parametrize("weight_bytes", [1, 2, 4])
def test_tiles_fit_every_chip(outputs: int, weight_bytes: int):
    """One program fits the 99 KB of an Ada multiprocessor, and the depth of large weights is not split."""
    tiles = tiles_for(16, outputs, 4096, weight_bytes, 4 if weight_bytes == 4 else 2)
    tile_bytes = tiles.depth * (tiles.outputs * weight_bytes + tiles.rows * (4 if weight_bytes == 4 else 2))
    assert (tiles.stages - 1) * tile_bytes <= 99 * 1024
    assert tiles.stages > 3
    assert tiles.splits == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_a_rows_result_does_not_depend_on_the_others(dtype: torch.dtype, device: torch.device):
    weight, scale = held(40, 200, dtype, device)
    x = torch.randn(16, 200, device=device).bfloat16()
    alone = [skinny_linear(x[:rows], weight, scale)[0] for rows in (1, 3, 16)]
    assert torch.equal(alone[0], alone[1])
    assert torch.equal(alone[0], alone[2])
    x[1:] = torch.nan
    assert torch.equal(skinny_linear(x, weight, scale)[0], alone[0])


def test_kernels_are_not_available_for_cpu_tensors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not available(torch.zeros(1))
