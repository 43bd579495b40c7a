"""A traced step equals the eager step."""

from __future__ import annotations

import pytest
import torch

from model.audio import FRAME_SAMPLES
from model.execution.traced import TracedStep
from model.modes.duplex import Duplex, DuplexInputs
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import clear_row_, rows, tensors


@pytest.fixture(scope="module")
def traced(babble: Duplex) -> TracedStep:
    with torch.inference_mode():
        return TracedStep(babble, babble.make_state(1))


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@torch.inference_mode()
def test_a_traced_step_equals_the_eager_step_bit_for_bit(babble: Duplex, traced: TracedStep, count: int):
    """Tokens, sound and state are equal, with callers who pause, join or sample greedily."""
    rng = torch.Generator().manual_seed(count)
    states = [babble.make_state(8), babble.make_state(8)]
    for state in states:
        state.sampling.text_temperature[1:], state.sampling.audio_temperature[1:] = 0.7, 0.8
        state.sampling.text_top_k[:], state.sampling.audio_top_k[:] = 25, 250
    eager, played = (rows(state, count) for state in states)
    for tick in range(12):
        pcm = torch.randn(count, FRAME_SAMPLES, generator=rng) * 0.1
        active = torch.rand(count, generator=rng) < 0.7
        if tick == 8:
            for state in states:
                clear_row_(state, count - 1)
        inputs = DuplexInputs(pcm)
        ours, theirs = babble.step(inputs, eager, active, COMMON_PLAN), traced(inputs, played, active)
        assert torch.equal(ours.spoken, theirs.spoken)
        assert torch.equal(ours.input_codes[active], theirs.input_codes[active])
        assert torch.equal(ours.tokens[ours.spoken], theirs.tokens[ours.spoken])
        assert torch.equal(ours.pcm[ours.spoken], theirs.pcm[ours.spoken])
    # The ring of an idle row may differ in columns that are never read; the rest of the state is equal.
    for name in ("delays", "sampling"):
        for here, there in zip(tensors(getattr(eager, name)), tensors(getattr(played, name)), strict=True):
            assert torch.equal(here, there)


@pytest.mark.parametrize(
    ("plan", "is_served"),
    [
        (COMMON_PLAN, True),
        (SamplingPlan(greedy=True, unbounded=False, penalised=False, padded=False), True),
        (SamplingPlan(unbounded=True, penalised=False, padded=False), False),
        (SamplingPlan(unbounded=False, penalised=True, padded=False), False),
        (SamplingPlan(unbounded=False, penalised=False, padded=True), False),
    ],
)
def test_is_common_excludes_every_option(plan: SamplingPlan, is_served: bool):
    assert plan.is_common == is_served
