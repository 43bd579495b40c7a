"""Numbers in 8 bits: rows of int8 or fp8 with one float32 scale each.

A row is an output channel of a weight, or one head's key or value at one position: whatever is scaled by its own
largest magnitude. Knows neither layers nor rings.
"""

from __future__ import annotations

import torch
from torch import Tensor

EIGHT_BIT = (torch.int8, torch.float8_e4m3fn)


def eight_bit(device: torch.device) -> torch.dtype:
    """The 8 bits that suit a device: fp8 (e4m3) where the chip converts it by itself, else int8."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9):
        return torch.float8_e4m3fn
    return torch.int8


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
