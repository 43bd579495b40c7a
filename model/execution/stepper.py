"""The seam for execution: one way to run a mode's step, whatever the device.

A step is begun, and its frame asked for later. A GPU works by itself between the two, and its steps are CUDA graphs
(`cuda_graphs.py`). A CPU computes when the frame is asked for; a small model's steps are replayed from a trace there
(`traced.py`). Knows no callers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from model.execution.cuda_graphs import CudaGraphStepper
from model.execution.traced import TracedStep
from model.modes.mode import Frame, FrameT, Inputs, InputsT, Mode
from model.network.sampling import SamplingPlan
from model.state import fresh_like, put_rows_, row_count, rows, take_rows_, tensors

_MANY_PARAMETERS = 50_000_000
_FEW_ROWS = 2  # a second row costs less than copying one

# Variance for the Protocol, which `InputsT` and `FrameT` have none of.
StepInputs = TypeVar("StepInputs", bound=Inputs, contravariant=True)
StepFrame = TypeVar("StepFrame", bound=Frame, covariant=True)


class Stepper(Protocol[StepInputs, StepFrame]):
    """Steps a state, one step at a time. A new kind of device is one more class like this, and one line in
    `make_stepper`."""

    def computes(self, active: Tensor) -> int:
        """How many rows a step with this mask computes, idle ones among them."""
        ...

    def begin(self, inputs: StepInputs, active: Tensor, plan: SamplingPlan, longest: int) -> Callable[[], StepFrame]:
        """As `Mode.step` over the first rows of the state, from the CPU's memory and back to it.

        `inputs` [rows, …] and `active` bool [rows] may be used again once the frame is there. The frame is to be asked
        for before the next step begins, and stays as it is until the one after that begins.
        """
        ...


def is_overhead_bound(mode: nn.Module) -> bool:
    """Whether a step on a CPU is bound by the overhead of its calls, and not by what they compute."""
    parameters = list(mode.parameters())
    return parameters[0].device.type == "cpu" and sum(p.numel() for p in parameters) < _MANY_PARAMETERS


def should_compact(used: int, count: int) -> bool:
    """Whether to copy `used` of `count` rows into a smaller batch: only for a model bound by overhead."""
    return count > _FEW_ROWS and 0 < used <= count // 2


@torch.inference_mode()
def make_stepper(mode: Mode[InputsT, FrameT], state: Any, buckets: Sequence[int]) -> Stepper[InputsT, FrameT]:
    """Make the fastest stepper for this mode and device. `buckets`: the batch sizes, in rows.

    A small model on a CPU gets a single thread, of the whole process: a second one costs more than it gives.
    """
    if next(tensors(state)).is_cuda:
        return CudaGraphStepper(mode, state, buckets)
    small = is_overhead_bound(mode)
    if small:
        torch.set_num_threads(1)
    return DirectStepper(mode, state, TracedStep(mode, state) if small and mode.has_fixed_shapes else None)


class DirectStepper(Generic[InputsT, FrameT]):
    """Computes a step when its frame is asked for: from the trace if there is one and it fits the plan, else eagerly.

    An idle row costs a CPU what any other does. Where at least half of the rows are idle, a small model's others are
    copied into a smaller state, stepped there and copied back: copying a row takes a fifth of stepping it.
    """

    def __init__(self, mode: Mode[InputsT, FrameT], state: Any, traced: TracedStep[InputsT, FrameT] | None):
        slots = row_count(state)
        self._mode, self._state, self._traced = mode, state, traced
        self._device = next(tensors(state)).device
        self._views = [rows(state, count) for count in range(1 + slots)]
        compact = fresh_like(state, slots // 2) if traced else None
        self._compact = [rows(compact, count) for count in range(1 + slots // 2)] if traced else []

    def computes(self, active: Tensor) -> int:
        """As `Stepper.computes`."""
        used, count = int(active.count_nonzero()), len(active)
        return used if self._compact and should_compact(used, count) else count

    def begin(self, inputs: InputsT, active: Tensor, plan: SamplingPlan, longest: int) -> Callable[[], FrameT]:
        """As `Stepper.begin`."""
        return lambda: self._step(inputs, active, plan, longest)

    @torch.inference_mode()
    def _step(self, inputs: InputsT, active: Tensor, plan: SamplingPlan, longest: int) -> FrameT:
        inputs, active = _map(lambda part: part.to(self._device), inputs), active.to(self._device)
        count = len(active)
        if self.computes(active) < count:
            which = active.nonzero()[:, 0]
            state = self._compact[len(which)]
            take_rows_(state, self._state, which)
            frame = self._run(_map(lambda part: part[which], inputs), state, active[which], plan, longest)
            put_rows_(self._state, which, state)
            # All other rows are idle, and hold zeros.
            frame = _map(lambda part: part.new_zeros(count, *part.shape[1:]).index_copy_(0, which, part), frame)
        else:
            frame = self._run(inputs, self._views[count], active, plan, longest)
        return _map(Tensor.cpu, frame)

    def _run(self, inputs: InputsT, state: Any, active: Tensor, plan: SamplingPlan, longest: int) -> FrameT:
        if self._traced and plan.is_common:
            return self._traced(inputs, state, active)
        return self._mode.step(inputs, state, active, plan, longest)


Parts = TypeVar("Parts", bound=Inputs | Frame)


def _map(function: Callable[[Tensor], Tensor], parts: Parts) -> Parts:
    """Inputs or a frame with each tensor changed."""
    return type(parts)(*(function(getattr(parts, field.name)) for field in fields(parts)))
