"""Rotary positions, and new keys and values into the ring, in one launch instead of torch's six to twenty.

One program takes one head of one new position: it turns the query and the key, rounds them as torch does, and writes
key and value into their column, in 8 bits with a scale if the ring holds those. It is little work; launches were its
cost.
"""

# pyright: reportCallIssue=false, reportGeneralTypeIssues=false
# (a launch takes options, such as num_warps, that are no parameters; a kernel's call of another has no type)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.state import Ring

_TINY = tl.constexpr(torch.finfo(torch.float32).tiny)
_WHOLE = tl.constexpr(1.5 * 2**23)  # added and taken away again, it rounds a float32 to a whole number, ties to even


def rotate_and_write(qkv: Tensor, rotation: Tensor, ring: Ring, columns: Tensor) -> Tensor:
    """Turn queries and keys by their positions' angles, write keys and values, and return the queries [S, H, T, D].

    The same as `attention.rotate` and `state.write_ring_`: qkv [S, T, 3, H, D], contiguous, D a power of two; rotation
    complex64 [S, T, 1, 1, D/2]; columns int64 [S, T]. The queries are a view of contiguous [S, T, H, D].
    """
    slots, frames, _, heads, dim = qkv.shape
    assert qkv.is_contiguous() and ring.keys.is_contiguous() and ring.values.is_contiguous()
    query = qkv.new_empty(slots, frames, heads, dim)
    _rotate_and_write[(heads, frames, slots)](
        qkv, torch.view_as_real(rotation), columns, query,
        ring.keys, ring.values, ring.key_scales, ring.value_scales, ring.keys.shape[2],
        HEADS=heads, FRAMES=frames, HALF=dim // 2, num_warps=1,
    )  # fmt: skip
    return query.transpose(1, 2)


@triton.jit
def _rotate_and_write(
    qkv, rotation, columns, query, keys, values, key_scales, value_scales, capacity,
    HEADS: tl.constexpr, FRAMES: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    head, frame, slot = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    position = slot * FRAMES + frame
    pair = tl.arange(0, HALF)
    even, odd = 2 * pair, 2 * pair + 1
    cos = tl.load(rotation + position * 2 * HALF + even)
    sin = tl.load(rotation + position * 2 * HALF + odd)
    source = qkv + (position * 3 * HEADS + head) * 2 * HALF
    a, b = _turned(source, even, odd, cos, sin)
    target = query + (position * HEADS + head) * 2 * HALF
    tl.store(target + even, a)
    tl.store(target + odd, b)
    place = (slot * HEADS + head) * capacity + tl.load(columns + position)
    a, b = _turned(source + HEADS * 2 * HALF, even, odd, cos, sin)
    _write(keys, key_scales, place, a, b, even, odd)
    source += 2 * HEADS * 2 * HALF
    _write(values, value_scales, place, tl.load(source + even), tl.load(source + odd), even, odd)


@triton.jit
def _turned(source, even, odd, cos, sin):
    """A vector's pairs turned by their angles, in its dtype."""
    a, b = tl.load(source + even), tl.load(source + odd)
    real = a.to(tl.float32) * cos - b.to(tl.float32) * sin
    imaginary = a.to(tl.float32) * sin + b.to(tl.float32) * cos
    return real.to(a.dtype), imaginary.to(a.dtype)


@triton.jit
def _write(ring, scales, place, a, b, even, odd):
    """A vector's halves into a column of the ring, quantised as `quantize.quantize` does if it has scales."""
    target = ring + place * 2 * even.shape[0]
    if scales is None:
        tl.store(target + even, a.to(ring.dtype.element_ty))
        tl.store(target + odd, b.to(ring.dtype.element_ty))
    else:
        a, b = a.to(tl.float32), b.to(tl.float32)
        is_integer: tl.constexpr = ring.dtype.element_ty == tl.int8
        scale = tl.max(tl.maximum(tl.abs(a), tl.abs(b)), 0) / (127.0 if is_integer else 448.0)
        scale += tl.sum((a + b) * 0.0, 0)  # a maximum drops NaN, and a slot that has one must be reported
        a = tl.div_rn(a, tl.maximum(scale, _TINY))
        b = tl.div_rn(b, tl.maximum(scale, _TINY))
        if is_integer:
            a, b = (a + _WHOLE) - _WHOLE, (b + _WHOLE) - _WHOLE
        tl.store(target + even, a.to(ring.dtype.element_ty))
        tl.store(target + odd, b.to(ring.dtype.element_ty))
        tl.store(scales + place, scale.to(scales.dtype.element_ty))
