"""The same step, recorded once and played back without Python in between: for small models on a CPU.

A small step is bound by the calls it makes, not by what they compute, and much of a call's price is Python's. A
recording makes the same calls on the same state, bit for bit, for any number of rows. It is TorchScript's tracer, which
PyTorch keeps but no longer grows: what it points to instead wants a C++ compiler on the machine that serves.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from model.audio import FRAME_SAMPLES
from model.modes.duplex import Duplex, DuplexState, Frame
from model.network.attention import CHUNK_KEYS
from model.network.sampling import COMMON_PLAN
from model.state import tensors, with_tensors

_ROWS = 2  # one would be taken for a constant


class TracedStep:
    """`Duplex.step` with an `active` mask, for calls that `COMMON_PLAN` serves."""

    def __init__(self, duplex: Duplex, kv_dtype: torch.dtype | None = None):
        """Record one step on a state of its own, with keys and values in `kv_dtype`; takes a second."""
        scratch = duplex.make_state(_ROWS, kv_dtype)
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
        return duplex.config.temporal.context <= CHUNK_KEYS

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
        frame = self.duplex.step(pcm, with_tensors(self._like, iter(state)), active, COMMON_PLAN)
        return frame.heard, frame.tokens, frame.spoken, frame.pcm, frame.finite
