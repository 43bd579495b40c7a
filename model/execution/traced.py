"""The same step, traced once and replayed without Python in between: for small models on a CPU.

A small step is bound by the calls that it makes, not by what they compute, and much of a call's price is Python's. A
trace makes the same calls on the same state, bit for bit, for any number of rows. It is TorchScript's tracer, which
PyTorch keeps but no longer develops: its successors need a C++ compiler on the machine that serves.
"""

from __future__ import annotations

import warnings
from typing import Any, Generic

import torch
from torch import Tensor, nn

from model.modes.mode import FrameT, InputsT, Mode
from model.network.sampling import COMMON_PLAN
from model.state import fresh_like, tensors, with_tensors

_ROWS = 2  # one would be taken for a constant


class TracedStep(Generic[InputsT, FrameT]):
    """`Mode.step` with an `active` mask and `COMMON_PLAN`."""

    def __init__(self, mode: Mode[InputsT, FrameT], state: Any):
        """Trace one step, which takes a second, on a fresh state like `state`. The mode `has_fixed_shapes`."""
        inputs, scratch = mode.make_inputs(_ROWS), fresh_like(state, _ROWS)
        example = (torch.ones(_ROWS, dtype=torch.bool), *tensors(inputs), *tensors(scratch))
        # A first step makes what becomes part of the trace.
        self._frame_type = type(mode.step(inputs, scratch, example[0], COMMON_PLAN))
        step = _FlatStep(mode, inputs, scratch).eval()
        with warnings.catch_warnings():
            # The tracer warns of sizes that become constants, which the model's may, and of its own age.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(step, example, check_trace=False)
            self._replay = torch.jit.freeze(traced)

    def __call__(self, inputs: InputsT, state: Any, active: Tensor) -> FrameT:
        """As `Mode.step`."""
        # Optimising gains nothing here, and would take seconds at the first frames.
        with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
            return self._frame_type(*self._replay(active, *tensors(inputs), *tensors(state)))


class _FlatStep(nn.Module):
    """The step as a function of tensors alone."""

    def __init__(self, mode: Mode[Any, Any], inputs: Any, state: Any):
        super().__init__()
        self.mode = mode
        self._inputs, self._state = inputs, state

    def forward(self, active: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        rest = iter(parts)
        inputs, state = with_tensors(self._inputs, rest), with_tensors(self._state, rest)
        return tuple(tensors(self.mode.step(inputs, state, active, COMMON_PLAN)))
