"""Attention of new frames over a ring of past keys, with rotary positions.

A slot's result must not depend on its neighbours, bit for bit. So a small ring is read whole, and a large one in
chunks of a fixed size: a neighbour's longer call adds chunks that are masked out exactly for this slot, and never
changes the shape of a matrix product that the slot takes part in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model import kernels
from model.quantize import dequantize
from model.state import Ring, write_ring_

CHUNK_KEYS = 512
_KERNEL_FRAMES = 2  # a live step's: one, and Mimi's two
_FULL_TURN = 1 << 37  # a full turn of an angle, in whole numbers
MASKED = -1e30  # finite, so that a fully masked chunk gives weights that are dropped later, and no NaN


@dataclass(frozen=True, slots=True)
class AttentionWindow:
    """Positions and visible columns of one step's frames, computed once for all layers."""

    rotation: Tensor  # complex64 [S, T, 1, 1, D/2]
    columns: Tensor  # int64 [S, T]: where the new keys go
    length: Tensor  # int64 [S]: how many positions came before
    active: Tensor | None  # bool [S]: the rows to compute; None: all
    visible: Tensor | None  # bool [S, 1, T, span]: which columns each query sees, once the new keys are in; None: a
    # kernel works that out from `length`


def make_window(
    length: Tensor,
    frames: int,
    *,
    capacity: int,
    span: int,
    steps: Tensor,
    active: Tensor | None = None,
    by_kernel: bool = False,
) -> AttentionWindow:
    """The window of `frames` (T) new positions after `length` (int64 [S]) old ones.

    `span` is how many columns are read: at least `min(capacity, longest live length + frames)`; `steps` comes from
    `rotary_steps`. `by_kernel`: see `suits_kernel`.
    """
    positions = length.unsqueeze(1) + torch.arange(frames, device=length.device)  # [S, T]
    part = (positions.view(-1, frames, 1, 1, 1) * steps) & (_FULL_TURN - 1)
    angles = part.float() * (2 * math.pi / _FULL_TURN)
    rotation = torch.polar(torch.ones_like(angles), angles)
    visible = None if by_kernel else _visible(length.view(-1, 1, 1, 1), frames, capacity, span)
    return AttentionWindow(rotation, positions % capacity, length, active, visible)


def _visible(before: Tensor, frames: int, capacity: int, span: int) -> Tensor:  # [S, 1, 1, 1] → bool [S, 1, T, span]
    # All T keys are written before any is read, so column c holds the newest position congruent to c; `age` is how long
    # before the last of the T that was. A query attends to columns that hold something, and none newer than itself.
    last = before + (frames - 1)
    age = (last - torch.arange(span, device=before.device)) % capacity
    youngest = torch.arange(frames - 1, -1, -1, device=before.device).unsqueeze(1)  # [T, 1]
    return (age <= last) & (age >= youngest)


def suits_kernel(x: Tensor, head_dim: int) -> bool:
    """Whether attention for x [S, T, D] is the kernel's: a live step's, not a prompt's and not in training."""
    return (
        x.shape[1] <= _KERNEL_FRAMES
        and head_dim == 1 << (head_dim.bit_length() - 1)
        and kernels.available(x)
        and not x.requires_grad
    )


def reads_whole_ring(capacity: int) -> bool:
    """Whether a step reads the whole ring, however few of its columns hold something."""
    return capacity <= CHUNK_KEYS


def span_of(longest: int, frames: int, capacity: int) -> int:
    """How many columns a step must read when the longest live slot holds `longest` positions."""
    if reads_whole_ring(capacity):
        return capacity
    needed = longest + frames
    return min(capacity, -(-needed // CHUNK_KEYS) * CHUNK_KEYS)


def rotary_steps(head_dim: int, max_period: float, device: torch.device) -> Tensor:
    """How far each pair is rotated by one position (RoFormer, arXiv:2104.09864): int64 [D/2], `_FULL_TURN` to a turn.

    Positions grow for hours, and a float32 angle would be 0.02 rad off by then. Whole numbers wrap exactly: after a
    day of frames an angle is right to 3e-5 rad, on devices without float64 too, and nothing overflows for a month.
    """
    pairs = torch.arange(head_dim // 2, dtype=torch.float64)
    steps = max_period ** (-2 * pairs / head_dim) / (2 * math.pi)
    return (steps * _FULL_TURN).round().to(torch.int64).to(device)


def rotate(qk: Tensor, rotation: Tensor) -> Tensor:
    """Rotate interleaved pairs of queries and keys [S, T, 2, H, D] by their positions' angles."""
    pairs = torch.view_as_complex(qk.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(qk.dtype)


def rotate_and_write(qkv: Tensor, ring: Ring, window: AttentionWindow) -> Tensor:
    """Give qkv [S, T, 3, H, D] its positions, write the new keys and values, and return the queries [S, H, T, D]."""
    if window.visible is None:
        from model.kernels.ring_write import rotate_and_write

        return rotate_and_write(qkv, window.rotation, ring, window.columns)
    query, key = rotate(qkv.narrow(2, 0, 2), window.rotation).transpose(1, 3).unbind(2)  # each [S, H, T, D]
    write_ring_(ring, key, qkv.select(2, 2).transpose(1, 2), window.columns)
    return query


def attend(query: Tensor, ring: Ring, window: AttentionWindow) -> Tensor:
    """Softmax attention of queries [S, H, T, D] over the columns of the ring that they see: [S, H, T, D]."""
    if window.visible is not None:
        return _attend(query, ring, window.visible)
    from model.kernels.ring_attention import ring_attention

    return ring_attention(
        query, ring.keys, ring.values, window.length, window.active, ring.key_scales, ring.value_scales
    )


def _attend(query: Tensor, ring: Ring, visible: Tensor) -> Tensor:
    """The same in torch, over the ring's first `span` columns."""
    span = visible.shape[-1]
    if reads_whole_ring(ring.keys.shape[2]):
        keys = _read(ring.keys, ring.key_scales, query.dtype)
        values = _read(ring.values, ring.value_scales, query.dtype)
        return F.scaled_dot_product_attention(query, keys, values, visible)
    scaled = query.float() * query.shape[-1] ** -0.5  # bfloat16 would round scores by more than keys differ
    peaks, sums, outputs = [], [], []
    for start in range(0, span, CHUNK_KEYS):
        chunk = slice(start, min(start + CHUNK_KEYS, span))
        scores = scaled @ _read(ring.keys, ring.key_scales, torch.float32, chunk).mT
        scores = scores.masked_fill(~visible[..., chunk], MASKED)
        peak = scores.amax(-1, keepdim=True)
        weights = torch.exp(scores - peak)
        peaks.append(peak)
        sums.append(weights.sum(-1, keepdim=True))
        values = _read(ring.values, ring.value_scales, query.dtype, chunk)
        outputs.append((weights.to(query.dtype) @ values).float())
    return _merge(peaks, sums, outputs).to(query.dtype)


def _read(held: Tensor, scales: Tensor | None, dtype: torch.dtype, chunk: slice | None = None) -> Tensor:
    """A ring's keys or values, all or some columns of them, as numbers to compute with: [S, H, columns, D]."""
    if chunk is not None:
        held, scales = held[:, :, chunk], scales[:, :, chunk] if scales is not None else None
    if scales is not None:
        return dequantize(held, scales, dtype)
    return held if held.dtype == dtype else held.to(dtype)  # a trace would keep even a call that changes nothing


def _merge(peaks: list[Tensor], sums: list[Tensor], outputs: list[Tensor]) -> Tensor:
    """Join the chunks' softmaxes in their order, so that masked chunks add exact zeros at the end."""
    peak = torch.stack(peaks).amax(0)
    total = torch.zeros_like(sums[0])
    attended = torch.zeros_like(outputs[0])
    for chunk_peak, chunk_sum, output in zip(peaks, sums, outputs, strict=True):
        weight = torch.exp(chunk_peak - peak)
        total = total + weight * chunk_sum
        attended = attended + weight * output
    return attended / total
