"""Numbers in 8 bits: rows of int8 or fp8, with one float32 scale for each row.

A row is an output channel of a weight, or one head's key or value at one position; its largest magnitude sets its
scale. Knows neither layers nor rings.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Commands offer int8: at the same size and with a scale for each row, its error is a tenth of that of fp8, which spends
# bits on a range that a scaled row does not need (`python -m model.precision`, on random weights and the demo model).
EIGHT_BIT = (torch.int8, torch.float8_e4m3fn)


def quantize(numbers: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows [..., D] to 8 bits [..., D] and scales f32 [...], such that the row is about `bits · scale`.

    What int8 holds comes back exactly: quantising a dequantised row changes nothing.
    """
    is_integer = dtype == torch.int8
    wide = numbers.float()
    scale = wide.abs().amax(-1) / (127.0 if is_integer else torch.finfo(dtype).max)
    bits = wide / scale.clamp(min=torch.finfo(torch.float32).tiny)[..., None]  # a row of zeros has a scale of zero
    return (bits.round_() if is_integer else bits).to(dtype), scale


def dequantize(bits: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The rows [..., D] that `quantize` made `bits` [..., D] and `scale` [...] of, up to its rounding."""
    return (bits.float() * scale[..., None]).to(dtype)
