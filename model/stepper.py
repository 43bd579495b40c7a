"""One way to run `Duplex.step` over a state, whatever the device: begin a step, and ask for its frame later.

A GPU works by itself between the two, and the steps are graphs (`model/graphs.py`). A CPU computes when it is asked;
a small model's steps are played back from a recording there (`model/recorded.py`). Knows no callers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from model.duplex import Duplex, DuplexState, Frame
from model.graphs import GraphedStepper
from model.recorded import RecordedStep
from model.sampling import SamplingPlan
from model.state import rows

_MANY_PARAMETERS = 50_000_000

Pending: TypeAlias = Callable[[], Frame]


class Stepper(Protocol):
    """Steps a state, one step at a time."""

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


@torch.inference_mode()
def make_stepper(duplex: Duplex, state: DuplexState, buckets: Sequence[int]) -> Stepper:
    """The fastest there is for this model on its device; steps will come in `buckets` of so many rows."""
    if state.delays.offset.is_cuda:
        return GraphedStepper(duplex, state, buckets)
    recorded = is_small(duplex) and RecordedStep.fits(duplex)
    kv = state.temporal.rings[0].keys.dtype
    return DirectStepper(duplex, state, RecordedStep(duplex, kv) if recorded else None)


class DirectStepper:
    """Computes a step when its frame is asked for: recorded if there is a recording that serves, else eager."""

    def __init__(self, duplex: Duplex, state: DuplexState, recorded: RecordedStep | None):
        self._duplex = duplex
        self._device = duplex.delays.delays.device
        self._views = [rows(state, count) for count in range(1 + len(state.delays.offset))]
        self._recorded = recorded

    def begin(self, pcm: Tensor, active: Tensor, plan: SamplingPlan, longest: int) -> Pending:
        """As `Stepper.begin`."""
        return lambda: self._step(pcm, active, plan, longest)

    @torch.inference_mode()
    def _step(self, pcm: Tensor, active: Tensor, plan: SamplingPlan, longest: int) -> Frame:
        view = self._views[len(active)]
        pcm, active = pcm.to(self._device), active.to(self._device)
        if self._recorded and RecordedStep.serves(plan):
            frame = self._recorded(pcm, view, active)
        else:
            frame = self._duplex.step(pcm, view, active, plan, longest)
        return Frame(*(getattr(frame, field.name).cpu() for field in fields(frame)))
