"""One way to run `Duplex.step` over a state, whatever the device: begin a step, and ask for its frame later.

A GPU works by itself between the two, and the steps are graphs (`cuda_graphs.py`). A CPU computes when it is asked;
there a small model's steps are replayed from a trace (`traced.py`). Knows no callers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from model.execution.cuda_graphs import GraphedStepper
from model.execution.traced import TracedStep
from model.modes.duplex import Duplex, DuplexState, Frame
from model.network.sampling import SamplingPlan
from model.state import put_rows_, rows, take_rows_

_MANY_PARAMETERS = 50_000_000
_FEW_ROWS = 2  # a second row costs less than copying one

Pending: TypeAlias = Callable[[], Frame]


class Stepper(Protocol):
    """Steps a state, one step at a time."""

    def computes(self, active: Tensor) -> int:
        """How many rows a step with this mask computes, idle ones among them."""
        ...

    def begin(self, pcm: Tensor, active: Tensor, plan: SamplingPlan, longest: int) -> Pending:
        """As `Duplex.step` over the first rows of the state, from the CPU's memory and back to it.

        pcm f32 [rows, FRAME_SAMPLES] and active bool [rows] may be used again once the frame is there. The frame is to
        be asked for before the next step begins, and stays as it is until the one after that begins.
        """
        ...


def is_small(duplex: Duplex) -> bool:
    """Whether a step is bound by the calls that it makes on a CPU, and not by what they compute."""
    parameters = list(duplex.parameters())
    return parameters[0].device.type == "cpu" and sum(p.numel() for p in parameters) < _MANY_PARAMETERS


def are_few(used: int, count: int) -> bool:
    """Whether a small model on a CPU steps `used` of `count` rows by themselves."""
    return count > _FEW_ROWS and 0 < used <= count // 2


@torch.inference_mode()
def make_stepper(duplex: Duplex, state: DuplexState, buckets: Sequence[int]) -> Stepper:
    """The fastest there is for this model on its device; steps will come in `buckets` of so many rows."""
    if state.delays.offset.is_cuda:
        return GraphedStepper(duplex, state, buckets)
    recorded = is_small(duplex) and TracedStep.fits(duplex)
    kv = state.temporal.rings[0].keys.dtype
    return DirectStepper(duplex, state, TracedStep(duplex, kv) if recorded else None)


class DirectStepper:
    """Computes a step when its frame is asked for: recorded if there is a recording that serves, else eager.

    An idle row costs a CPU what any other does. Where at least half of the rows are idle, a small model's others are
    copied out, stepped by themselves and copied back: copying a row takes a fifth of stepping it.
    """

    def __init__(self, duplex: Duplex, state: DuplexState, recorded: TracedStep | None):
        self._duplex = duplex
        self._device = duplex.delays.delays.device
        self._views = [rows(state, count) for count in range(1 + len(state.delays.offset))]
        self._recorded = recorded
        self._state = state
        kv = state.temporal.rings[0].keys.dtype
        apart = duplex.make_state(len(state.delays.offset) // 2, kv) if recorded else None
        self._apart = [rows(apart, count) for count in range(1 + len(apart.delays.offset))] if apart else []

    def computes(self, active: Tensor) -> int:
        """As `Stepper.computes`."""
        used, count = int(active.count_nonzero()), len(active)
        return used if self._apart and are_few(used, count) else count

    def begin(self, pcm: Tensor, active: Tensor, plan: SamplingPlan, longest: int) -> Pending:
        """As `Stepper.begin`."""
        return lambda: self._step(pcm, active, plan, longest)

    @torch.inference_mode()
    def _step(self, pcm: Tensor, active: Tensor, plan: SamplingPlan, longest: int) -> Frame:
        pcm, active = pcm.to(self._device), active.to(self._device)
        count = len(active)
        if self.computes(active) < count:
            which = active.nonzero()[:, 0]
            apart = self._apart[len(which)]
            take_rows_(apart, self._state, which)
            frame = _among(self._run(pcm[which], apart, active[which], plan, longest), which, count)
            put_rows_(self._state, which, apart)
        else:
            frame = self._run(pcm, self._views[count], active, plan, longest)
        return Frame(*(getattr(frame, field.name).cpu() for field in fields(frame)))

    def _run(self, pcm: Tensor, state: DuplexState, active: Tensor, plan: SamplingPlan, longest: int) -> Frame:
        if self._recorded and plan.is_common:
            return self._recorded(pcm, state, active)
        return self._duplex.step(pcm, state, active, plan, longest)


def _among(frame: Frame, which: Tensor, count: int) -> Frame:
    """The same among `count` rows, of which all but these are idle."""
    parts = (getattr(frame, field.name) for field in fields(frame))
    return Frame(*(part.new_zeros(count, *part.shape[1:]).index_copy_(0, which, part) for part in parts))
