"""Attention of a step's few new positions over the ring of past keys and values: as `network.attention` does in torch.

Decoding reads every key once and computes almost nothing, so its time is the bytes of the columns that hold something.
The columns are split among programs (flash-decoding, https://crfm.stanford.edu/2023/10/12/flashdecoding.html), so that
one caller fills the GPU too; each leaves its share of the softmax, and a second kernel joins the shares in their order.
Splits follow from the ring's shape alone: which columns a slot reads, and in which order it adds, depends on its own
length and never on its neighbours, bit for bit. A program whose slot is idle, or whose columns are still empty, returns
before it reads a key.

Why no tensor cores: each key meets one query, two operations a number. Plain multiply-adds keep up with the memory of
every chip from Ampere to Blackwell, and keep scores, weights and sums in float32. What bounds a naive loop is latency:
the compiler waits for each load. So tiles come through shared memory by asynchronous copies, 16 bytes a thread, two
tiles of keys and values ahead.

Reads rings only: the new positions' keys and values are written before this is called.
"""

# pyright: reportCallIssue=false
# (a launch takes options, such as num_warps, that are no parameters of the kernel)

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

_MASKED = tl.constexpr(-1e30)  # finite: a lane that sees nothing keeps it, and weighs exactly nothing when it is joined
_TILE_VALUES = 4096  # of keys that a program works on at once, and as many of values: what fits its registers
_TILE_BYTES = 8192  # and its share of a multiprocessor's shared memory, where _STAGES − 1 tiles are on their way
_TILES = 8  # that a program reads: enough to hide its start, few enough that one caller's 32 heads fill the GPU
_STAGES = 3
_WARPS = 4
_JOINED = 16  # shares that are joined at once


def ring_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    length: Tensor,
    active: Tensor | None,
    key_scales: Tensor | None = None,
    value_scales: Tensor | None = None,
) -> Tensor:
    """Softmax attention of T queries over the columns that `network.attention.make_window` lets each see.

    Shapes: query [S, H, T, D], any strides but D's, which is 1; keys and values [S, H, C, D], contiguous, D a power of
    two; scales f32 or f16 [S, H, C], one a head and column, where keys and values are int8 or float8_e4m3fn; length
    int64 [S], the positions before these T; active bool [S], None for all. Returns [S, H, T, D] in the query's dtype,
    a view of contiguous [S, T, H, D]; zeros in idle rows.
    """
    slots, heads, frames, dim = query.shape
    capacity = keys.shape[2]
    assert query.stride(3) == 1 and keys.is_contiguous() and values.is_contiguous()
    assert dim & (dim - 1) == 0, f"a head of {dim} is not a power of two"
    block = max(8, min(_TILE_VALUES, _TILE_BYTES // keys.element_size()) // dim)
    splits = -(-capacity // (block * _TILES))
    attended = query.new_empty(slots, frames, heads, dim)
    # A single split writes its result at once; several leave their shares here.
    shares = (slots, heads * frames, splits) if splits > 1 else (0, 0, 0)
    peaks, sums = query.new_empty((2, *shares), dtype=torch.float32)
    outputs = query.new_empty((*shares, dim), dtype=torch.float32)
    _read[(splits, heads * frames, slots)](
        query, keys, values, key_scales, value_scales, length, active, attended, peaks, sums, outputs,
        *query.stride()[:3], capacity, math.log2(math.e) / math.sqrt(dim),
        HEADS=heads, FRAMES=frames, DIM=dim, BLOCK=block, TILES=_TILES, SPLITS=splits, STAGES=_STAGES,
        num_warps=_WARPS,
    )  # fmt: skip
    if splits > 1:
        _join[(heads * frames, slots)](
            length, active, attended, peaks, sums, outputs, capacity,
            HEADS=heads, FRAMES=frames, DIM=dim, SPLIT=block * _TILES, SPLITS=splits, JOINED=_JOINED,
            num_warps=_WARPS,
        )  # fmt: skip
    return attended.transpose(1, 2)


@triton.jit
def _read(
    query, keys, values, key_scales, value_scales, length, active, attended, peaks, sums, outputs,
    query_slot, query_head, query_frame, capacity, scale,
    HEADS: tl.constexpr, FRAMES: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr, TILES: tl.constexpr,
    SPLITS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """One split's share of one query's attention. Each of BLOCK lanes keeps a softmax of its own, over every BLOCKth
    column, so that nothing waits for anything in the loop; they are joined at its end."""
    split, row, slot = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    head, frame = row // FRAMES, row % FRAMES
    dims = tl.arange(0, DIM)
    target = ((slot * FRAMES + frame) * HEADS + head) * DIM + dims
    last = tl.load(length + slot) + FRAMES - 1
    wanted = tl.load(query + slot * query_slot + head * query_head + frame * query_frame + dims).to(tl.float32) * scale
    if active is not None:
        if not tl.load(active + slot):
            if SPLITS == 1:
                tl.store(attended + target, tl.zeros([DIM], attended.dtype.element_ty))
            return
    newest = last.to(tl.int32) % capacity  # the column of the last position; 32 bits of frames are five years
    oldest = tl.minimum(last, capacity - 1).to(tl.int32)  # the greatest age that any column holds
    start = split * BLOCK * TILES
    if start > oldest:
        return
    ring = (slot * HEADS + head) * capacity
    peak = tl.full([BLOCK], _MASKED, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    output = tl.zeros([BLOCK, DIM], tl.float32)
    for first in tl.range(start, tl.minimum(start + BLOCK * TILES, oldest + 1), BLOCK, num_stages=STAGES):
        columns = first + tl.arange(0, BLOCK)
        age = newest - columns
        age = tl.where(age < 0, age + capacity, age)
        # All T keys are in the ring before anyone looks: the first of a pair does not see the second.
        visible = (columns < capacity) & (age <= oldest) & (age >= FRAMES - 1 - frame)
        place = ring + columns
        at = place[:, None] * DIM + dims[None, :]
        key = tl.load(keys + at, visible[:, None], 0.0)
        value = tl.load(values + at, visible[:, None], 0.0)
        score = tl.sum(key.to(tl.float32) * wanted[None, :], 1)
        if key_scales is not None:
            score *= tl.load(key_scales + place, visible, 0.0).to(tl.float32)
        score = tl.where(visible, score, _MASKED)
        higher = tl.maximum(peak, score)
        weight = tl.exp2(score - higher)
        kept = tl.exp2(peak - higher)
        peak = higher
        total = total * kept + weight
        if value_scales is not None:
            weight *= tl.load(value_scales + place, visible, 0.0).to(tl.float32)
        output = output * kept[:, None] + weight[:, None] * value.to(tl.float32)
    highest = tl.max(peak, 0)
    part = tl.exp2(peak - highest)
    whole = tl.sum(total * part, 0)
    sum_of_lanes = tl.sum(output * part[:, None], 0)
    if SPLITS == 1:
        tl.store(attended + target, (sum_of_lanes / whole).to(attended.dtype.element_ty))
    else:
        share = (slot * HEADS * FRAMES + row) * SPLITS + split
        tl.store(peaks + share, highest)
        tl.store(sums + share, whole)
        tl.store(outputs + share * DIM + dims, sum_of_lanes)


@triton.jit
def _join(
    length, active, attended, peaks, sums, outputs, capacity,
    HEADS: tl.constexpr, FRAMES: tl.constexpr, DIM: tl.constexpr, SPLIT: tl.constexpr, SPLITS: tl.constexpr,
    JOINED: tl.constexpr,
):  # fmt: skip
    """Join the shares of one query's splits in their order, those that had columns to read."""
    row, slot = tl.program_id(0), tl.program_id(1).to(tl.int64)
    head, frame = row // FRAMES, row % FRAMES
    dims = tl.arange(0, DIM)
    target = attended + ((slot * FRAMES + frame) * HEADS + head) * DIM + dims
    if active is not None:
        if not tl.load(active + slot):
            tl.store(target, tl.zeros([DIM], attended.dtype.element_ty))
            return
    oldest = tl.minimum(tl.load(length + slot) + FRAMES - 1, capacity - 1).to(tl.int32)
    count = oldest // SPLIT + 1
    peak = tl.full([], _MASKED, tl.float32)
    total = tl.zeros([], tl.float32)
    output = tl.zeros([DIM], tl.float32)
    for first in tl.range(0, count, JOINED):
        splits = first + tl.arange(0, JOINED)
        shares = (slot * HEADS * FRAMES + row) * SPLITS + splits
        theirs = tl.load(peaks + shares, splits < count, _MASKED)
        sums_here = tl.load(sums + shares, splits < count, 0.0)
        outputs_here = tl.load(outputs + shares[:, None] * DIM + dims[None, :], (splits < count)[:, None], 0.0)
        higher = tl.maximum(peak, tl.max(theirs, 0))
        kept = tl.exp2(peak - higher)
        part = tl.exp2(theirs - higher)
        peak = higher
        total = total * kept + tl.sum(sums_here * part, 0)
        output = output * kept + tl.sum(outputs_here * part[:, None], 0)
    tl.store(target, (output / total).to(attended.dtype.element_ty))
