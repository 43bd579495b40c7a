"""A mode without dialogue, with only what steppers, traces and graphs may rely on.

Like speech synthesis it takes tokens, several of which may wait in a slot; like recognition it has no sound. Each step
emits one waiting token, and the weighted sum of all tokens so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.modes.mode import Frame, Inputs, Mode
from model.network.sampling import SamplingPlan
from model.state import commit_, per_row

MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class ReaderInputs(Inputs):
    words: Tensor  # int64 [S, 2]; 0: none


@dataclass(frozen=True, slots=True)
class ReaderFrame(Frame):
    total: Tensor  # f32 [S]


@dataclass(frozen=True, slots=True)
class ReaderState:
    waiting: Tensor  # int64 [S, MOST_WAITING], the oldest first
    count: Tensor  # int64 [S]
    total: Tensor  # f32 [S]


class Reader(Mode[ReaderInputs, ReaderFrame]):
    """A queue of words for each slot, see the module."""

    def __init__(self, weight: float = 0.5):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)

    def make_inputs(self, slots: int) -> ReaderInputs:
        return ReaderInputs(torch.zeros(slots, 2, dtype=torch.int64))

    def make_state(self, slots: int, kv_dtype: torch.dtype | None = None) -> ReaderState:
        waiting = torch.zeros(slots, MOST_WAITING, dtype=torch.int64)
        return ReaderState(waiting, torch.zeros(slots, dtype=torch.int64), torch.zeros(slots))

    @property
    def has_fixed_shapes(self) -> bool:
        return True

    def step(
        self,
        inputs: ReaderInputs,
        state: ReaderState,
        active: Tensor | None = None,
        plan: SamplingPlan = SamplingPlan(),  # noqa: B008 - frozen
        longest: int | None = None,
    ) -> ReaderFrame:
        waiting, count = state.waiting, state.count
        places = torch.arange(MOST_WAITING)
        for word in inputs.words.unbind(1):
            place = (places == count[:, None]) & (word[:, None] > 0)
            waiting = torch.where(place, word[:, None], waiting)
            count = count + (word > 0)
        spoken = count > 0 if active is None else (count > 0) & active
        tokens = waiting[:, :1].clone()
        rest = torch.cat([waiting[:, 1:], torch.zeros_like(waiting[:, :1])], 1)
        commit_(state.waiting, torch.where(per_row(spoken, rest), rest, waiting), active)
        commit_(state.count, count - (count > 0).long(), active)
        commit_(state.total, state.total + self.weight * inputs.words.sum(1), active)
        return ReaderFrame(tokens, spoken, state.total.isfinite(), state.total.clone())
