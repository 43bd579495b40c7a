"""The seam for modes: every stepper steps a mode without dialogue, and a config finds its mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from model.checkpoints.moshi_config import duplex_config
from model.execution.cuda_graphs import CudaGraphStepper
from model.execution.stepper import DirectStepper, Stepper, make_stepper
from model.modes import make_mode
from model.modes.duplex import Duplex
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import tensors
from tests.model.execution.fake_cuda import FakeCuda
from tests.model.modes.fake_mode import Reader, ReaderFrame, ReaderInputs

SLOTS = 4
BUCKETS = [1, 2, SLOTS]
MAKERS: dict[str, Callable[[Reader, Any], Stepper[ReaderInputs, ReaderFrame]]] = {
    "eager": lambda reader, state: DirectStepper(reader, state, None),
    "traced": lambda reader, state: make_stepper(reader, state, BUCKETS),
    "graphs": lambda reader, state: CudaGraphStepper(reader, state, BUCKETS),
}


@pytest.mark.parametrize("kind", MAKERS)
@torch.inference_mode()
def test_a_mode_without_sound_is_stepped_by_every_stepper(kind: str, cuda: FakeCuda):
    reader = Reader()
    state, expected = reader.make_state(SLOTS), reader.make_state(SLOTS)
    stepper = MAKERS[kind](reader, state)
    rng = torch.Generator().manual_seed(0)
    for tick in range(12):
        inputs = ReaderInputs(torch.randint(0, 3, (SLOTS, 2), generator=rng))
        active = torch.rand(SLOTS, generator=rng) < 0.6
        plan = SamplingPlan() if tick % 5 == 4 else COMMON_PLAN
        frame = stepper.begin(inputs, active, plan, tick)()
        plain = reader.step(inputs, expected, active, plan)
        assert torch.equal(frame.spoken, plain.spoken)
        assert torch.equal(frame.tokens[frame.spoken], plain.tokens[frame.spoken])
        assert torch.equal(frame.total[active], plain.total[active])
        assert frame.finite[active].all()
    for here, there in zip(tensors(state), tensors(expected), strict=True):
        assert torch.equal(here, there)


@torch.inference_mode()
def test_the_fake_mode_emits_one_word_a_step():
    reader = Reader()
    state = reader.make_state(1)
    given = [[7, 8], [9, 0], [0, 0], [0, 0]]
    frames = [reader.step(ReaderInputs(torch.tensor([words])), state) for words in given]
    assert [int(frame.tokens) for frame in frames if frame.spoken] == [7, 8, 9]


def test_a_config_finds_its_mode():
    assert type(make_mode(duplex_config({"num_layers": 1, "depformer_num_layers": 1}, None))) is Duplex
