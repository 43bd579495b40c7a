"""Products of a few rows with a large weight, bound by reading the weight once, in 16 or 8 bits.

How it is laid out, and why. The arithmetic is free up to some hundred rows, so everything serves the stream of weights:

- A program owns a few outputs over the whole depth. Tiles of its weight come through shared memory by asynchronous
  copies, 16 bytes a thread and several tiles ahead, so that even one program on a multiprocessor keeps tens of
  kilobytes in flight: enough for Hopper and Blackwell to reach their bandwidth, and many times more than Ada (L4, L40S)
  needs.
- Rows are padded to the 16 that tensor cores take, also when there is one: the padding is neither read nor paid for,
  while plain multiply-adds cost as many instructions as there are rows, too many on Hopper and Blackwell at 8 bits
  from two rows on. m16n8k16 products with the rows as A and the weight as B are the same on Ada, Hopper and Blackwell;
  their larger ones (wgmma, tcgen05) start at 64 rows.
- 8-bit weights become the activations' type in registers, exactly; sums are float32, and the output's scale meets them
  at the end.
- The rows' tile is read from L2 by every program: rows / outputs of the weight's 16-bit bytes. So a program takes as
  many outputs as leave about a hundred programs (one for each multiprocessor of a large GPU).
- Only where so few outputs remain that most of the GPU would idle is the depth split, and a second pass adds the parts
  in their order. No 7B shape wants that: a launch costs more than it gains.

Tiles follow from the weight's shape and never from the number of rows up to 16, so that a row's result is the same, bit
for bit, whatever rows it shares a step with.
"""

# pyright: reportCallIssue=false
# (a launch takes options, such as num_warps, that are no parameters of the kernel)

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

_ROWS = 16
_WIDE_ROWS = 64  # of a program where there are more
_PIPELINE_BYTES = 72 * 1024  # one program fits an Ada multiprocessor (100 KB), three fit a Hopper one (228 KB)
_PROGRAMS = 64  # fewer leave most of a GPU idle, and the depth is split


class Tiles(NamedTuple):
    """How one product is cut up."""

    rows: int
    outputs: int  # of a program, in each half if gated
    depth: int  # of a tile
    stages: int
    warps: int
    splits: int = 1


def skinny_linear(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None = None,
    *,
    alpha: Tensor | None = None,
    eps: float = 1e-8,
    gated: bool = False,
) -> Tensor:
    """`x @ weightᵀ`, perhaps of normed rows, perhaps gated: [..., K] → [..., N], or [..., N/2] if gated; x's dtype.

    weight [N, K], contiguous, in f32, bf16 or f16, or int8 or float8_e4m3fn with a scale f32 [N]: `weight · scale`.
    With `alpha` [K] the rows are RMS-normed first, as `layers.RMSNorm` in float32 does with `eps`. `gated`:
    `silu(a) · b` with a, b the halves of the product, as in `layers.Gated`. More than 16 rows of a plain product are
    left to torch, unless the weight has 8 bits, which torch can only multiply by writing it out in 16.
    """
    rows = x.numel() // x.shape[-1]
    if rows > _ROWS and scale is None and alpha is None and not gated:
        return F.linear(x, weight)
    outputs, depth = weight.shape
    tiles = tiles_for(rows, outputs, depth, weight.element_size(), x.element_size(), gated, alpha is not None)
    return multiply(x, weight, scale, tiles, alpha=alpha, eps=eps, gated=gated)


def tiles_for(
    rows: int, outputs: int, depth: int, weight_bytes: int, x_bytes: int, gated: bool = False, normed: bool = False
) -> Tiles:
    """The tiles of a product with a weight [outputs, depth] of so many bytes a number. Not yet tuned on a GPU."""
    if rows > _ROWS:  # 8 bits, and arithmetic begins to count
        return Tiles(_WIDE_ROWS if rows > 32 else 32, 64, min(64, _power_of_two(depth)), 4, 4)
    block = 64 if outputs >= 8192 else 32 if outputs >= 4096 else 16
    deep = min(256 // weight_bytes, _power_of_two(depth))  # rows of 256 bytes: two whole lines of memory
    buffers = _PIPELINE_BYTES // (deep * (block * weight_bytes + _ROWS * x_bytes))
    splits = 1 if gated or normed else max(1, min(_PROGRAMS * block // outputs, depth // 512))
    block //= 2 if gated else 1  # one tile of each half
    return Tiles(_ROWS, block, deep, min(buffers, 6) + 1, 4 if block >= 32 else 2, splits)


def _power_of_two(depth: int) -> int:
    return max(16, 1 << (depth - 1).bit_length())


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def multiply(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    tiles: Tiles,
    *,
    alpha: Tensor | None = None,
    eps: float = 1e-8,
    gated: bool = False,
) -> Tensor:
    """`skinny_linear` with given tiles."""
    flat = x.reshape(-1, x.shape[-1])
    flat = flat if flat.stride(1) == 1 else flat.contiguous()
    rows, depth = flat.shape
    outputs = weight.shape[0] // 2 if gated else weight.shape[0]
    assert weight.is_contiguous() and (tiles.splits == 1 or not (gated or alpha is not None))
    parts = x.new_empty(tiles.splits, rows, outputs, dtype=x.dtype if tiles.splits == 1 else torch.float32)
    span = _ceil_div(depth, tiles.splits * tiles.depth) * tiles.depth
    grid = _ceil_div(rows, tiles.rows), _ceil_div(outputs, tiles.outputs), tiles.splits
    _multiply[grid](
        flat, weight, scale, alpha, parts, rows, outputs, depth, span, flat.stride(0), eps,
        GATED=gated, ROWS=tiles.rows, OUTPUTS=tiles.outputs, DEPTH=tiles.depth, STAGES=tiles.stages,
        num_warps=tiles.warps,
    )  # fmt: skip
    out = parts[0] if tiles.splits == 1 else parts.sum(0).to(x.dtype)
    return out.view(*x.shape[:-1], outputs)


@triton.jit(do_not_specialize=["rows"])  # one machine code for any number of rows, and so the same bits
def _multiply(
    x, weight, scale, alpha, parts, rows, outputs, depth, span, x_row, eps,
    GATED: tl.constexpr, ROWS: tl.constexpr, OUTPUTS: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """A block of rows by a block of outputs, over one span of the depth."""
    # Blocks of rows are neighbours, so that they find the weight's tile in L2.
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first_output, split = tl.program_id(1) * OUTPUTS, tl.program_id(2)
    output = tl.arange(0, OUTPUTS)
    is_row, is_output = row < rows, first_output + output < outputs
    x_at = x + row[:, None] * x_row
    weight_at = weight + first_output.to(tl.int64) * depth + output[:, None] * depth
    product = tl.zeros([ROWS, OUTPUTS], tl.float32)
    gate = tl.zeros([ROWS, OUTPUTS], tl.float32)
    squares = tl.zeros([ROWS], tl.float32)
    end = tl.minimum((split + 1) * span, depth)
    for start in tl.range(split * span, end, DEPTH, num_stages=STAGES):
        at = start + tl.arange(0, DEPTH)
        inside = (at < end)[None, :]
        tile = tl.load(x_at + at[None, :], is_row[:, None] & inside, 0.0)
        if alpha is not None:
            wide = tile.to(tl.float32)
            squares += tl.sum(wide * wide, 1)
            tile = (wide * tl.load(alpha + at, at < end, 0.0).to(tl.float32)[None, :]).to(tile.dtype)
        if GATED:
            gate = _add_product(gate, tile, weight_at + at[None, :], is_output[:, None] & inside)
        values_at = weight_at + outputs.to(tl.int64) * depth if GATED else weight_at
        product = _add_product(product, tile, values_at + at[None, :], is_output[:, None] & inside)
    if alpha is not None:  # a row's norm is one number: the product is scaled by it
        size = tl.rsqrt(squares / depth + eps)[:, None]
        product *= size
        gate *= size
    if scale is not None:
        product *= tl.load(scale + (outputs if GATED else 0) + first_output + output, is_output, 0.0)[None, :]
    if GATED:
        if scale is not None:
            gate *= tl.load(scale + first_output + output, is_output, 0.0)[None, :]
        product *= gate * tl.sigmoid(gate)
    target = parts + (split * rows + row)[:, None] * outputs + first_output + output[None, :]
    tl.store(target, product.to(parts.dtype.element_ty), is_row[:, None] & is_output[None, :])


@triton.jit
def _add_product(product, tile, weight_at, inside):
    """product + tile @ weightᵀ, the weight as it is read."""
    weight = tl.load(weight_at, inside, 0.0)
    if weight.dtype.is_fp8():
        weight = weight.to(tl.float32)  # straight to bf16 is the slow converter (F2F) on Hopper
    return tl.dot(tile, weight.to(tile.dtype).T, product, input_precision="ieee")
