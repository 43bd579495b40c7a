"""Linear layers equal the plain product, also where they compute its transpose."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from model.network.layers import linear


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2,), (1, 3)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_with_a_large_weight_equals_float64(shape: tuple[int, ...], has_bias: bool):
    rng = torch.Generator().manual_seed(0)
    x, weight = torch.randn(*shape, 512, generator=rng), torch.randn(1024, 512, generator=rng)
    bias = torch.randn(1024, generator=rng) if has_bias else None
    y = linear(x, weight, bias)
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert y.shape == (*shape, 1024)
    assert y.is_contiguous()
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
