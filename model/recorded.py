"""The same step, recorded once and played back without Python in between: for small models on a CPU.

A small step is bound by the calls it makes, not by what they compute, and much of a call's price is Python's. A
recording makes the same calls on the same state, bit for bit, for any number of rows. It is TorchScript's tracer, which
PyTorch keeps but no longer grows: what it points to instead wants a C++ compiler on the machine that serves.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from model.attention import PIECE_KEYS
from model.duplex import Duplex, DuplexState, Frame
from model.published import FRAME_SAMPLES
from model.sampling import SamplingPlan
from model.state import tensors, with_tensors

# Recorded with the choices of almost every call; a step with a caller who wants more is not played back.
PLAN = SamplingPlan(unbounded=False, penalised=False, padded=False)
_ROWS = 2  # one would be taken for a constant


class RecordedStep:
    """`Duplex.step` with an `active` mask, for calls that `PLAN` serves."""

    def __init__(self, duplex: Duplex, kv: torch.dtype | None = None):
        """Record one step on a state of its own, with keys and values in `kv`; takes a second."""
        scratch = duplex.make_state(_ROWS, kv)
        inputs = (torch.zeros(_ROWS, FRAME_SAMPLES), torch.ones(_ROWS, dtype=torch.bool), *tensors(scratch))
        step = _FlatStep(duplex, scratch).eval()
        with warnings.catch_warnings():
            # Of sizes that become constants: the model's may, and rows are never asked for by len(). Of its old age.
            warnings.simplefilter("ignore")
            step(*inputs)  # what is made at a first step becomes part of the recording
            traced = torch.jit.trace(step, inputs, check_trace=False)
            self._play = torch.jit.freeze(traced)

    @staticmethod
    def fits(duplex: Duplex) -> bool:
        """Whether a step reads its whole ring however short the calls are: then its shapes never change."""
        return duplex.config.temporal.context <= PIECE_KEYS

    @staticmethod
    def serves(plan: SamplingPlan) -> bool:
        """Whether the recording draws what these callers want."""
        return not (plan.unbounded or plan.penalised or plan.padded)

    def __call__(self, pcm: Tensor, state: DuplexState, active: Tensor) -> Frame:
        """As `Duplex.step`."""
        # There is nothing to gain from optimising, and seconds to lose at the first frames.
        with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
            return Frame(*self._play(pcm, active, *tensors(state)))


class _FlatStep(nn.Module):
    """The step as a function of tensors alone."""

    def __init__(self, duplex: Duplex, like: DuplexState):
        super().__init__()
        self.duplex = duplex
        self._like = like

    def forward(self, pcm: Tensor, active: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        frame = self.duplex.step(pcm, with_tensors(self._like, iter(state)), active, PLAN)
        return frame.heard, frame.tokens, frame.spoken, frame.pcm, frame.finite
