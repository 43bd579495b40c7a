"""The seam for modes: what a network is used for, as one step over all slots.

A mode takes one frame of every slot's input and gives one frame of output. Steppers, traces and CUDA graphs know modes
by this class alone: they hand `Inputs` to `step` and `Frame`s out, and see the state as a tree of tensors (`state.py`).

What flows in and out differs. Dialogue hears sound and speaks tokens and sound. Speech recognition hears sound, and
its frames hold text tokens and pauses, no sound. Speech synthesis takes words, which wait in the state until the step
itself takes them: everything that decides what is said next is a tensor inside the step, since a step is one trace or
one graph and the host cannot intervene during it. So each mode has an `Inputs` and a `Frame` of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from model.network.sampling import SamplingPlan


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a step takes from outside: a mode's own fields, each one tensor with the slot as dimension 0."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a step gives for each slot. A mode adds fields of its own, each one tensor with the slot as dimension 0."""

    tokens: Tensor  # int64 [S, streams], text first
    spoken: Tensor  # bool [S]; False where the slot was idle or has nothing to say yet: the rest is meaningless there
    finite: Tensor  # bool [S]; False where a result is NaN or infinite: that slot can't go on


InputsT = TypeVar("InputsT", bound=Inputs)
FrameT = TypeVar("FrameT", bound=Frame)


class Mode(nn.Module, ABC, Generic[InputsT, FrameT]):
    """A network and its use.

    Slots are isolated from each other: what a slot gets depends on its own inputs, state and choices, bit for bit. A
    new mode is one module with such a class, and one line in `modes/__init__.py`.
    """

    @abstractmethod
    def make_inputs(self, slots: int) -> InputsT:
        """Inputs of zeros on the network's device: buffers for a graph, an example for a trace."""

    @abstractmethod
    def make_state(self, slots: int, kv_dtype: torch.dtype | None = None) -> Any:
        """The state of fresh slots, all zeros (`state.py`); keys and values in `kv_dtype` (None: the model's dtype)."""

    @abstractmethod
    def step(
        self,
        inputs: InputsT,
        state: Any,
        active: Tensor | None = None,
        plan: SamplingPlan = SamplingPlan(),  # noqa: B008 - frozen
        longest: int | None = None,
    ) -> FrameT:
        """One frame for every slot; changes the state in place, and only in rows that are `active` (bool [S]).

        `plan` says what all slots' choices have in common, so that a step does no needless work. `longest`
        is the most frames that any live slot has had (None: unknown), so that short ones read few keys.
        """

    @property
    @abstractmethod
    def has_fixed_shapes(self) -> bool:
        """Whether a step's shapes follow from the number of rows alone, so that one trace serves every step."""
