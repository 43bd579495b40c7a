"""Attention of new frames over a ring of past keys, with rotary positions.

What one slot reads must not depend on its neighbours, bit for bit. So a small ring is read whole, and a large one
in pieces of a fixed size: a neighbour's longer call adds pieces that are masked out exactly, and never changes the
shape of a product that a slot takes part in.
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

PIECE_KEYS = 512
_KERNEL_FRAMES = 2  # a live step's: one, and Mimi's two
_TURN = 1 << 37  # one full turn, in whole numbers
MASKED = -1e30  # finite, so that a piece with nothing to see gives weights to forget and no NaN


@dataclass(frozen=True, slots=True)
class Window:
    """Where the frames of one step stand, worked out once for all layers."""

    rotation: Tensor  # complex64 [S, T, 1, 1, D/2]
    columns: Tensor  # int64 [S, T]: where the new keys go
    length: Tensor  # int64 [S]: how many positions came before
    active: Tensor | None  # bool [S]: who wants to see anything; None: all
    visible: Tensor | None  # bool [S, 1, T, span]: which columns each query sees, once the new keys are in; None: a
    # kernel works that out from `length`


def look(
    length: Tensor,
    frames: int,
    *,
    capacity: int,
    span: int,
    turns: Tensor,
    active: Tensor | None = None,
    by_kernel: bool = False,
) -> Window:
    """The window of `frames` (T) new positions after `length` (int64 [S]) old ones.

    `span` is how many columns are read: at least `min(capacity, longest live length + frames)`; `turns` comes from
    `turns_per_position`. `by_kernel`: see `suits_kernel`.
    """
    positions = length.unsqueeze(1) + torch.arange(frames, device=length.device)  # [S, T]
    part = (positions.view(-1, frames, 1, 1, 1) * turns) & (_TURN - 1)
    angles = part.float() * (2 * math.pi / _TURN)
    rotation = torch.polar(torch.ones_like(angles), angles)
    visible = None if by_kernel else _visible(length.view(-1, 1, 1, 1), frames, capacity, span)
    return Window(rotation, positions % capacity, length, active, visible)


def _visible(before: Tensor, frames: int, capacity: int, span: int) -> Tensor:  # [S, 1, 1, 1] → bool [S, 1, T, span]
    # All T keys are in the ring before anyone looks, so column c holds the newest position congruent to c, which came
    # so long before the last of the T. A query sees what was there, and nothing newer than itself.
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


def span_of(longest: int, frames: int, capacity: int) -> int:
    """How many columns a step must read when the longest live slot holds `longest` positions."""
    if capacity <= PIECE_KEYS:
        return capacity
    needed = longest + frames
    return min(capacity, -(-needed // PIECE_KEYS) * PIECE_KEYS)


def turns_per_position(head_dim: int, max_period: float, device: torch.device) -> Tensor:
    """How far each rotated pair turns in one position (RoFormer, arXiv:2104.09864): int64 [D/2], of `_TURN` a turn.

    Positions grow for hours, and a float32 angle would be 0.02 rad off by then. Whole numbers wrap exactly: after a
    day of frames an angle is right to 3e-5 rad, on devices without float64 too, and nothing overflows for a month.
    """
    pairs = torch.arange(head_dim // 2, dtype=torch.float64)
    turns = max_period ** (-2 * pairs / head_dim) / (2 * math.pi)
    return (turns * _TURN).round().to(torch.int64).to(device)


def rotate(qk: Tensor, rotation: Tensor) -> Tensor:
    """Turn interleaved pairs of queries and keys [S, T, 2, H, D] by their positions' angles."""
    pairs = torch.view_as_complex(qk.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(qk.dtype)


def rotate_and_write(qkv: Tensor, ring: Ring, window: Window) -> Tensor:
    """Give qkv [S, T, 3, H, D] its positions, write the new keys and values, and return the queries [S, H, T, D]."""
    if window.visible is None:
        from model.kernels.ring_write import rotate_and_write

        return rotate_and_write(qkv, window.rotation, ring, window.columns)
    query, key = rotate(qkv.narrow(2, 0, 2), window.rotation).transpose(1, 3).unbind(2)  # each [S, H, T, D]
    write_ring_(ring, key, qkv.select(2, 2).transpose(1, 2), window.columns)
    return query


def attend(query: Tensor, ring: Ring, window: Window) -> Tensor:
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
    if ring.keys.shape[2] <= PIECE_KEYS:
        keys = _read(ring.keys, ring.key_scales, query.dtype)
        values = _read(ring.values, ring.value_scales, query.dtype)
        return F.scaled_dot_product_attention(query, keys, values, visible)
    scaled = query.float() * query.shape[-1] ** -0.5  # bfloat16 would round scores by more than keys differ
    peaks, sums, sights = [], [], []
    for start in range(0, span, PIECE_KEYS):
        piece = slice(start, min(start + PIECE_KEYS, span))
        scores = scaled @ _read(ring.keys, ring.key_scales, torch.float32, piece).mT
        scores = scores.masked_fill(~visible[..., piece], MASKED)
        peak = scores.amax(-1, keepdim=True)
        weights = torch.exp(scores - peak)
        peaks.append(peak)
        sums.append(weights.sum(-1, keepdim=True))
        values = _read(ring.values, ring.value_scales, query.dtype, piece)
        sights.append((weights.to(query.dtype) @ values).float())
    return _merge(peaks, sums, sights).to(query.dtype)


def _read(held: Tensor, scales: Tensor | None, dtype: torch.dtype, piece: slice | None = None) -> Tensor:
    """A ring's keys or values, all or some columns of them, as numbers to compute with: [S, H, columns, D]."""
    if piece is not None:
        held, scales = held[:, :, piece], scales[:, :, piece] if scales is not None else None
    if scales is not None:
        return dequantize(held, scales, dtype)
    return held if held.dtype == dtype else held.to(dtype)  # a recording would make the call for nothing


def _merge(peaks: list[Tensor], sums: list[Tensor], sights: list[Tensor]) -> Tensor:
    """Join the pieces' softmaxes in their order, so that masked pieces add exact zeros at the end."""
    peak = torch.stack(peaks).amax(0)
    total = torch.zeros_like(sums[0])
    seen = torch.zeros_like(sights[0])
    for piece_peak, piece_sum, sight in zip(peaks, sums, sights, strict=True):
        weight = torch.exp(piece_peak - peak)
        total = total + weight * piece_sum
        seen = seen + weight * sight
    return seen / total
