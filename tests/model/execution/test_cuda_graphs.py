"""The host's side of CUDA graphs, with a fake `torch.cuda` (`fake_cuda.py`)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from model.audio import FRAME_SAMPLES
from model.execution.cuda_graphs import CudaGraphStepper
from model.modes.duplex import Duplex, DuplexInputs
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import clear_row_, copy_row_, rows, tensors
from tests.model.execution.fake_cuda import FakeCuda

SLOTS = 4
EVERYTHING = SamplingPlan()


def choose(duplex_state: Any) -> None:
    choices = duplex_state.sampling
    choices.text_temperature[1:], choices.audio_temperature[1:] = 0.7, 0.8
    choices.text_top_k[:], choices.audio_top_k[:] = 25, 250
    choices.penalty[:], choices.penalty_span[:] = 1.2, 20
    choices.text_seed[:] = choices.audio_seed[:] = torch.arange(SLOTS)


@torch.inference_mode()
def test_graphed_steps_equal_eager_steps(babble: Duplex, cuda: FakeCuda):
    """Callers join, pause, move and leave, in batches of every size and with every kind of sampling."""
    eager, graphed = babble.make_state(SLOTS), babble.make_state(SLOTS)
    stepper = CudaGraphStepper(babble, graphed, [1, 2, SLOTS])
    for one in (eager, graphed):
        for slot in range(SLOTS):
            clear_row_(one, slot)
        choose(one)
    rng = torch.Generator().manual_seed(0)
    for tick, count in enumerate([1, 1, 2, 3, 4, 4, 4, 3, 2, 2, 1, 4]):
        plan = EVERYTHING if tick in (3, 4, 9) else COMMON_PLAN
        pcm = torch.randn(count, FRAME_SAMPLES, generator=rng) * 0.1
        active = torch.rand(count, generator=rng) < 0.7
        if tick == 7:
            for one in (eager, graphed):
                copy_row_(one, 3, 0)
                clear_row_(one, 3)
        frame = stepper.begin(DuplexInputs(pcm), active, plan, tick)()
        bucket = next(size for size in (1, 2, SLOTS) if size >= count)
        padded = torch.cat([pcm, torch.zeros(bucket - count, FRAME_SAMPLES)])
        awake = torch.cat([active, torch.zeros(bucket - count, dtype=torch.bool)])
        expected = babble.step(DuplexInputs(padded), rows(eager, bucket), awake, plan)
        assert len(frame.pcm) == count
        assert torch.equal(frame.spoken, expected.spoken[:count])
        for name in ("input_codes", "tokens", "pcm", "finite"):
            shown = active if name in ("input_codes", "finite") else frame.spoken
            assert torch.equal(getattr(frame, name)[shown], getattr(expected, name)[:count][shown]), name
    for here, there in zip(tensors(eager.delays), tensors(graphed.delays), strict=True):
        assert torch.equal(here, there)


@torch.inference_mode()
def test_every_bucket_and_plan_has_a_graph_in_one_pool(babble: Duplex, cuda: FakeCuda):
    stepper = CudaGraphStepper(babble, babble.make_state(SLOTS), [1, 2, SLOTS])
    assert cuda.pools == ["pool"] * 6
    assert cuda.cudnn_sdp == [False]
    assert list(stepper._graphs) == [(n, plan) for n in (SLOTS, 2, 1) for plan in (COMMON_PLAN, EVERYTHING)]
    graphs_made: Any = [captured.graph for captured in stepper._graphs.values()]
    assert [graph.replays for graph in graphs_made] == [1] * 6  # already launched once, so that no caller waits for it


@torch.inference_mode()
def test_slots_are_fresh_after_capture(babble: Duplex, cuda: FakeCuda):
    """The first caller gets the same frames as on a state without captures."""
    touched, untouched = babble.make_state(SLOTS), babble.make_state(SLOTS)
    CudaGraphStepper(babble, touched, [SLOTS])
    rng = torch.Generator().manual_seed(0)
    for _ in range(6):
        pcm = torch.randn(SLOTS, FRAME_SAMPLES, generator=rng) * 0.1
        here, there = (babble.step(DuplexInputs(pcm), one, None, COMMON_PLAN) for one in (touched, untouched))
        assert torch.equal(here.tokens, there.tokens)
        assert torch.equal(here.pcm, there.pcm)


@torch.inference_mode()
def test_a_frame_can_be_read_while_the_next_step_runs(babble: Duplex, cuda: FakeCuda):
    stepper = CudaGraphStepper(babble, babble.make_state(SLOTS), [SLOTS])
    active = torch.ones(SLOTS, dtype=torch.bool)
    pcm = torch.randn(4, SLOTS, FRAME_SAMPLES) * 0.1
    stepper.begin(DuplexInputs(pcm[0]), active, COMMON_PLAN, 0)()
    frame = stepper.begin(DuplexInputs(pcm[1]), active, COMMON_PLAN, 1)()
    before = [getattr(frame, field.name).clone() for field in fields(frame)]
    pending = stepper.begin(DuplexInputs(pcm[2]), active, COMMON_PLAN, 2)
    for field, was in zip(fields(frame), before, strict=True):
        assert torch.equal(getattr(frame, field.name), was)
    assert not torch.equal(pending().pcm, before[3])


def test_the_host_waits_only_when_the_frame_is_requested(babble: Duplex, cuda: FakeCuda):
    """The step is begun outside of inference mode, as the engine does."""
    with torch.inference_mode():
        stepper = CudaGraphStepper(babble, babble.make_state(1), [1])
    exchanges = [next(stepper._exchanges) for _ in range(2)]
    pending = stepper.begin(babble.make_inputs(1), torch.ones(1, dtype=torch.bool), COMMON_PLAN, 0)
    done: Any = exchanges[0].done
    assert (done.recorded, done.waited) == (1, 0)
    pending()
    assert (done.recorded, done.waited) == (1, 1)
