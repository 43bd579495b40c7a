"""Whichever way a step is run, it is the step."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from model.duplex import Duplex
from model.published import FRAME_SAMPLES
from model.recorded import PLAN
from model.sampling import SamplingPlan
from model.state import rows
from model.stepper import DirectStepper, make_stepper


@pytest.mark.parametrize("is_recorded", [True, False])
@torch.inference_mode()
def test_a_step_is_run_when_its_frame_is_asked_for(babble: Duplex, is_recorded: bool):
    state, expected = babble.make_state(4), babble.make_state(4)
    stepper = make_stepper(babble, state, [1, 2, 4]) if is_recorded else DirectStepper(babble, state, None)
    assert isinstance(stepper, DirectStepper) and bool(stepper._recorded) == is_recorded
    dice = torch.Generator().manual_seed(0)
    for tick, (count, plan) in enumerate([(2, PLAN), (4, SamplingPlan()), (4, PLAN), (1, PLAN)]):
        pcm = torch.randn(count, FRAME_SAMPLES, generator=dice) * 0.1
        active = torch.arange(count) != 2
        before = state.delays.offset.clone()
        pending = stepper.begin(pcm, active, plan, tick)
        assert torch.equal(state.delays.offset, before)
        frame, plain = pending(), babble.step(pcm, rows(expected, count), active, plan, tick)
        for field in fields(frame):
            here, there = getattr(frame, field.name), getattr(plain, field.name)
            assert torch.equal(here[plain.spoken], there[plain.spoken]), field.name
    assert torch.equal(state.delays.offset, expected.delays.offset)
