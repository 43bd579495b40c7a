"""Norms, products and feed-forwards, as the published checkpoints define them."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model import kernels
from model.config import NormKind
from model.quantize import dequantize

_SKINNY_ROWS = 16  # up to which a kernel includes norm and gate in its product; beyond, the product takes the time
_LARGE = 1 << 18  # numbers in a weight that a CPU reads from memory


def empty(*shape: int) -> nn.Parameter:
    """A parameter of this shape without memory, which the loader gives it; frozen, since nothing is trained here."""
    return nn.Parameter(torch.empty(*shape, device="meta"), requires_grad=False)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: [..., K] and [N, K] → [..., N].

    A CPU multiplies two rows, which one caller's codec has, two to four times as fast when the weight is on the left;
    so it does for large weights, and never in a trace, which must serve any number of rows.
    """
    if weight.numel() >= _LARGE and kernels.runs_eagerly_on_cpu(x) and x.numel() == 2 * x.shape[-1]:
        y = (weight @ x.flatten(0, -2).T).T.contiguous().unflatten(0, x.shape[:-1])
        return y if bias is None else y + bias
    return F.linear(x, weight, bias)


class RMSNorm(nn.Module):
    """`y = x · alpha · rsqrt(mean(x²) + eps)`, in float32 when `in_f32` (`rms_norm_f32`, eps 1e-8); on GPUs always."""

    def __init__(self, dim: int, eps: float, in_f32: bool):
        super().__init__()
        self.alpha = empty(dim)
        self.eps = eps
        self.in_f32 = in_f32
        self._eps = torch.tensor(eps)

    def forward(self, x: Tensor) -> Tensor:  # [..., D]
        if kernels.has_fused_norm(x):
            return F.rms_norm(x, self.alpha.shape, self.alpha, self.eps)  # one kernel, float32 inside
        wide = x.float() if self.in_f32 else x
        size = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)  # fewer calls than F.rms_norm makes on a CPU
        scale = torch.addcmul(self._eps, size, size, value=1 / len(self.alpha)).rsqrt_()
        return (wide * scale * self.alpha).to(x.dtype)


class LayerNorm(nn.Module):
    """Layer normalisation with eps 1e-5."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = empty(dim)
        self.bias = empty(dim)

    def forward(self, x: Tensor) -> Tensor:  # [..., D]
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


Norm: TypeAlias = RMSNorm | LayerNorm


def make_norm(kind: NormKind, dim: int) -> Norm:
    """The norm that a checkpoint calls `kind`."""
    if kind == "layer_norm":
        return LayerNorm(dim)
    return RMSNorm(dim, 1e-8, in_f32=True) if kind == "rms_norm_f32" else RMSNorm(dim, 1e-5, in_f32=False)


def product(
    x: Tensor, weight: Tensor, scale: Tensor | None, norm: Norm | None = None, *, gated: bool = False
) -> Tensor:
    """`norm(x) @ weightᵀ`, perhaps gated: [..., K] → [..., N], or `silu(a) · b` [..., N/2] of its halves a and b.

    weight [N, K]; one of 8 bits has a scale f32 [N]. The one place where a product may be a kernel's: in float32, in
    training and on a CPU none is.
    """
    if x.dtype != torch.float32 and not weight.requires_grad and kernels.available(x):
        return _product_by_kernel(x, weight, scale, norm, gated)
    x = norm(x) if norm else x
    y = linear(x, weight if scale is None else dequantize(weight, scale, x.dtype))
    return _gate(y) if gated else y


def _product_by_kernel(x: Tensor, weight: Tensor, scale: Tensor | None, norm: Norm | None, gated: bool) -> Tensor:
    from model.kernels.skinny_linear import skinny_linear

    is_wide = x.numel() // x.shape[-1] > _SKINNY_ROWS
    if norm and (is_wide or not isinstance(norm, RMSNorm) or not norm.in_f32):
        x, norm = norm(x), None
    if is_wide:
        y = skinny_linear(x, weight, scale)
        return _gate(y) if gated else y
    if norm:
        return skinny_linear(x, weight, scale, alpha=norm.alpha, eps=norm.eps, gated=gated)
    return skinny_linear(x, weight, scale, gated=gated)


def _gate(halves: Tensor) -> Tensor:
    gate, value = halves.chunk(2, dim=-1)
    return F.silu(gate).mul_(value)


class Linear(nn.Module):
    """`x @ weightᵀ`, no bias. The weight is in full precision, or in 8 bits with a scale for every output."""

    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.weight = empty(dim_out, dim_in)
        self.scale: nn.Parameter | None = None

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:  # [..., dim_in] → [..., dim_out]
        """Of `norm(x)`, where there is a norm: for a kernel the two are one."""
        return product(x, self.weight, self.scale, norm)


def quantize_linears_(module: nn.Module, dtype: torch.dtype) -> None:
    """Give every `Linear` in `module` an 8-bit weight with scales instead of the one that it has.

    Heads too, as in published q8 checkpoints: of the error that 8 bits make, a tenth comes from them.
    To be called before memory is given and after `module.to(dtype)`, which would change these too.
    """
    for part in module.modules():
        if isinstance(part, Linear):
            part.weight = nn.Parameter(part.weight.to(dtype), requires_grad=False)
            part.scale = nn.Parameter(part.weight.new_empty(len(part.weight), dtype=torch.float32), requires_grad=False)


class Gated(nn.Module):
    """`linear_out(silu(a) · b)` with a, b the halves of `linear_in(x)`."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.linear_in = Linear(dim, 2 * hidden)
        self.linear_out = Linear(hidden, dim)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:  # [..., D]
        """Of `norm(x)`, where there is a norm."""
        return self.linear_out(product(x, self.linear_in.weight, self.linear_in.scale, norm, gated=True))


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.linear1 = Linear(dim, hidden)
        self.linear2 = Linear(hidden, dim)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:  # [..., D]
        """Of `norm(x)`, where there is a norm."""
        return self.linear2(F.gelu(self.linear1(x, norm)))
