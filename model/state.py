"""The state idiom: what a network remembers of each slot, as an argument.

A state is a frozen dataclass of tensors with the slot as dimension 0, made by `make_state(slots)` and passed to
`forward(x, state, active)`. Frozen means that addresses never change, so a step can be captured as a CUDA graph;
values change in place, through the functions below and nothing else. A row of zeros is a fresh slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Ring:
    """The last `capacity` keys and values of one attention layer. Which columns count is told by a length."""

    keys: Tensor  # [S, H, C, D]
    values: Tensor  # [S, H, C, D]


def tensors(state: Any) -> Iterator[Tensor]:
    """Every tensor of a state, in the order of its fields."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple):
        for part in state:
            yield from tensors(part)
    else:
        for field in fields(state):
            yield from tensors(getattr(state, field.name))


def nbytes(state: Any) -> int:
    """How many bytes a state takes."""
    return sum(tensor.nbytes for tensor in tensors(state))


def with_tensors(state: State, replacements: Iterator[Tensor]) -> State:
    """A state of the same form around other tensors, taken in the order of `tensors`."""
    return _mapped(state, lambda _: next(replacements))


def rows(state: State, count: int) -> State:
    """The same state seen through its first `count` rows: views, never copies."""
    return _mapped(state, lambda tensor: tensor[:count])


def _mapped(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
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

    No mask is needed: an idle row's write lands in the columns that its next active frame overwrites before it
    looks, and that its window no longer sees.
    """
    index = columns[:, None, :, None].expand_as(keys)
    ring.keys.scatter_(2, index, keys)
    ring.values.scatter_(2, index, values)


def restart_(state: Any, where: Tensor) -> None:
    """Make the rows in `where` (bool [S]) fresh, inside a step. Rings stay: their lengths say that they are empty."""
    if may_look(where) and not where.any():
        return
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


def simplest(active: Tensor) -> Tensor | None:
    """None for a mask that holds every row: writing without a mask is cheaper."""
    return None if may_look(active) and active.all() else active


def may_look(tensor: Tensor) -> bool:
    """Whether a step may ask what a tensor holds: free on a CPU, a stall on a GPU, and wrong while it is recorded."""
    return not tensor.is_cuda and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def per_row(mask: Tensor, like: Tensor) -> Tensor:
    """A mask [S] shaped to broadcast over `like` [S, …]."""
    return mask.view(-1, *(1,) * (like.dim() - 1))
