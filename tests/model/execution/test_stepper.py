"""Steppers give the same frames as eager steps."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from model.audio import FRAME_SAMPLES
from model.execution.stepper import DirectStepper, make_stepper
from model.modes.duplex import Duplex, DuplexInputs
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import rows, tensors


@pytest.mark.parametrize("is_traced", [True, False])
@torch.inference_mode()
def test_a_step_runs_when_its_frame_is_requested(babble: Duplex, is_traced: bool):
    state, expected = babble.make_state(4), babble.make_state(4)
    stepper = make_stepper(babble, state, [1, 2, 4]) if is_traced else DirectStepper(babble, state, None)
    assert isinstance(stepper, DirectStepper) and bool(stepper._traced) == is_traced
    rng = torch.Generator().manual_seed(0)
    for tick, (count, plan) in enumerate([(2, COMMON_PLAN), (4, SamplingPlan()), (4, COMMON_PLAN), (1, COMMON_PLAN)]):
        pcm = torch.randn(count, FRAME_SAMPLES, generator=rng) * 0.1
        active = torch.arange(count) != 2
        before = state.delays.offset.clone()
        pending = stepper.begin(DuplexInputs(pcm), active, plan, tick)
        assert torch.equal(state.delays.offset, before)
        frame, plain = pending(), babble.step(DuplexInputs(pcm), rows(expected, count), active, plan, tick)
        for field in fields(frame):
            here, there = getattr(frame, field.name), getattr(plain, field.name)
            assert torch.equal(here[plain.spoken], there[plain.spoken]), field.name
    assert torch.equal(state.delays.offset, expected.delays.offset)


@torch.inference_mode()
def test_idle_rows_are_neither_computed_nor_changed_if_most_are_idle(babble: Duplex):
    state, expected = babble.make_state(6), babble.make_state(6)
    stepper = make_stepper(babble, state, [6])
    rng = torch.Generator().manual_seed(0)
    for speakers in ([0, 1, 2, 3, 4, 5], [1, 4], [4], [0, 1, 4], [0, 1, 2, 4], [1, 4], [0, 1, 2, 3, 4, 5]):
        pcm = torch.randn(6, FRAME_SAMPLES, generator=rng) * 0.1
        active = torch.zeros(6, dtype=torch.bool).index_fill_(0, torch.tensor(speakers), True)
        before = [tensor.clone() for tensor in tensors(state)]
        assert stepper.computes(active) == (len(speakers) if len(speakers) <= 3 else 6)
        inputs = DuplexInputs(pcm)
        frame = stepper.begin(inputs, active, COMMON_PLAN, 0)()
        plain = babble.step(inputs, expected, active, COMMON_PLAN, 0)
        assert torch.equal(frame.spoken, plain.spoken)
        assert torch.equal(frame.finite[active], plain.finite[active])
        assert torch.equal(frame.input_codes[active], plain.input_codes[active])
        assert torch.equal(frame.tokens[plain.spoken], plain.tokens[plain.spoken])
        assert torch.allclose(frame.pcm[plain.spoken], plain.pcm[plain.spoken], atol=1e-5)
        if len(speakers) <= 3:
            assert all(torch.equal(t[~active], b[~active]) for t, b in zip(tensors(state), before, strict=True))
    assert torch.equal(state.delays.offset, expected.delays.offset)
