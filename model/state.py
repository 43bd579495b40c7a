"""The state idiom: what a network remembers of each slot, as an argument.

A state is a frozen dataclass, or a tree of them, of tensors with the slot as dimension 0, made by `make_state(slots)`
and passed to `forward(x, state, active)`. Frozen means that addresses never change, so a step can be captured as a CUDA
graph; values change in place, and only through the functions below. A row of zeros is a fresh slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from model.quantize import EIGHT_BIT, quantize

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Ring:
    """The last `capacity` keys and values of one attention layer. A length says which columns count.

    Keys and values of 8 bits have a scale for every head and column; others have none.
    """

    keys: Tensor  # [S, H, C, D]
    values: Tensor  # [S, H, C, D]
    key_scales: Tensor | None = None  # f32 [S, H, C]
    value_scales: Tensor | None = None  # f32 [S, H, C]


def make_ring(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Ring:
    """An empty ring of `shape` [S, H, C, D], in 8 bits with scales if that is its dtype."""
    keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
    if dtype not in EIGHT_BIT:
        return Ring(keys, values)
    return Ring(keys, values, *(torch.zeros(shape[:-1], device=device) for _ in range(2)))


def tensors(state: Any) -> Iterator[Tensor]:
    """Every tensor of a state, in the order of its fields."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple):
        for part in state:
            yield from tensors(part)
    elif state is not None:
        for field in fields(state):
            yield from tensors(getattr(state, field.name))


def nbytes(state: Any) -> int:
    """How many bytes a state takes."""
    return sum(tensor.nbytes for tensor in tensors(state))


def with_tensors(state: State, replacements: Iterator[Tensor]) -> State:
    """A state of the same form around other tensors, taken in the order of `tensors`."""
    return _mapped(state, lambda _: next(replacements))


def row_count(state: Any) -> int:
    """How many slots a state has."""
    return len(next(tensors(state)))


def fresh_like(state: State, count: int) -> State:
    """The state of `count` fresh slots, in the dtypes and on the device of `state`."""
    return _mapped(state, lambda tensor: tensor.new_zeros(count, *tensor.shape[1:]))


def rows(state: State, count: int) -> State:
    """The same state seen through its first `count` rows: views, never copies."""
    return _mapped(state, lambda tensor: tensor[:count])


def take_rows_(into: Any, state: Any, which: Tensor) -> None:
    """Copy the rows `which` (int64 [n]) of a state over one of n rows."""
    for taken, tensor in zip(tensors(into), tensors(state), strict=True):
        torch.index_select(tensor, 0, which, out=taken)


def put_rows_(state: Any, which: Tensor, taken: Any) -> None:
    """Copy rows that `take_rows_` took, and a step changed, back to their places."""
    for tensor, part in zip(tensors(state), tensors(taken), strict=True):
        tensor.index_copy_(0, which, part)


def row(state: State, slot: int) -> State:
    """One slot as a state of its own: views, never copies."""
    return _mapped(state, lambda tensor: tensor[slot : slot + 1])


def _mapped(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, tuple):
        return tuple(_mapped(part, function) for part in state)
    return type(state)(*(_mapped(getattr(state, field.name), function) for field in fields(state)))


def clear_row_(state: Any, slot: int) -> None:
    """Make one slot fresh, its rings included: nothing of an ended call stays in memory."""
    for tensor in tensors(state):
        tensor[slot].zero_()


def copy_row_(state: Any, source: int, target: int) -> None:
    """Copy one slot over another."""
    for tensor in tensors(state):
        tensor[target].copy_(tensor[source])


def snapshot(state: Any, slot: int) -> tuple[Tensor, ...]:
    """A copy of one slot, for `restore_`; of rings only the columns in use, whose number is read from the device."""
    return tuple(part.clone() for part in _in_use(state, slot, None))


def _in_use(state: Any, slot: int, length: int | None) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state[slot]
    elif isinstance(state, Ring):
        yield from (tensor[slot, :, :length] for tensor in tensors(state))
    elif isinstance(state, tuple):
        for part in state:
            yield from _in_use(part, slot, length)
    elif state is not None:
        if hasattr(state, "length"):  # of the rings beside it
            length = int(state.length[slot])
        for field in fields(state):
            yield from _in_use(getattr(state, field.name), slot, length)


def restore_(state: Any, slot: int, saved: tuple[Tensor, ...]) -> None:
    """Write a `snapshot` into a slot of the same model, over whatever was there."""
    for tensor, part in zip(tensors(state), saved, strict=True):
        whole = tensor[slot]
        if whole.shape != part.shape:  # a ring's columns in use
            whole.zero_()
            whole = whole[:, : part.shape[1]]
        whole.copy_(part)


def commit_(old: Tensor, new: Tensor, active: Tensor | None) -> None:
    """Write `new` over `old` in the rows that are active (None: in all).

    Shapes: both [S, …], active bool [S].
    """
    if active is None:
        old.copy_(new)
    else:
        torch.where(per_row(active, old), new, old, out=old)


def write_ring_(ring: Ring, keys: Tensor, values: Tensor, columns: Tensor) -> None:
    """Write T new keys and values [S, H, T, D] into the given columns [S, T], idle rows' too.

    No mask is needed: an idle row writes columns that its next active frame overwrites before reading, and that
    are outside its window.
    """
    index = columns[:, None, :, None].expand_as(keys)
    _write_(ring.keys, ring.key_scales, keys, index)
    _write_(ring.values, ring.value_scales, values, index)


def _write_(held: Tensor, scales: Tensor | None, new: Tensor, index: Tensor) -> None:
    if scales is None:
        if new.dtype != held.dtype:  # a training in mixed precision
            new = new.to(held.dtype)
        held.scatter_(2, index, new)
    else:
        bits, scale = quantize(new, held.dtype)
        if bits.dtype != torch.int8:  # fp8 can't be scattered everywhere
            held, bits = held.view(torch.int8), bits.view(torch.int8)
        held.scatter_(2, index, bits)
        scales.scatter_(2, index[..., 0], scale)


def restart_(state: Any, where: Tensor) -> None:
    """Make the rows in `where` (bool [S]) fresh, inside a step. Rings stay: their lengths say that they are empty."""
    if isinstance(state, Ring):
        return
    if isinstance(state, Tensor):
        state.masked_fill_(per_row(where, state), 0)
    elif isinstance(state, tuple):
        for part in state:
            restart_(part, where)
    else:
        for field in fields(state):
            restart_(getattr(state, field.name), where)


def per_row(mask: Tensor, like: Tensor) -> Tensor:
    """A mask [S] shaped to broadcast over `like` [S, …]."""
    return mask.view(-1, *(1,) * (like.dim() - 1))
