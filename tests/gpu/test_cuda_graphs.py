"""CUDA graphs on a real GPU: steps are captured, equal eager steps, and never make the host wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import write_checkpoint
from model.execution.cuda_graphs import CudaGraphStepper
from model.modes.duplex import Duplex, DuplexInputs, DuplexState
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import clear_row_, copy_row_, rows, tensors

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

SLOTS = 8
BUCKETS = [1, 2, 4, SLOTS]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def duplex(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Duplex:
    directory: Path = tmp_path_factory.mktemp("small")
    write_checkpoint(directory)
    return build(find(in_directory(directory)), torch.device("cuda"), getattr(torch, request.param))[0]


@contextmanager
def no_waiting() -> Iterator[None]:
    """Raise an error if the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def fresh(state: DuplexState) -> None:
    choices = state.sampling
    for slot in range(SLOTS):
        clear_row_(state, slot)
    choices.text_temperature[1:], choices.audio_temperature[1:] = 0.7, 0.8
    choices.text_top_k[:], choices.audio_top_k[:] = 25, 250
    choices.penalty[:], choices.penalty_span[:] = 1.2, 20
    choices.text_seed[:] = choices.audio_seed[:] = torch.arange(SLOTS, device="cuda")


@torch.inference_mode()
def test_graphed_steps_equal_eager_steps_without_host_waits(duplex: Duplex):
    """Over 60 frames: past Mimi's window, in all buckets, with pauses, moves and both plans."""
    eager, graphed = duplex.make_state(SLOTS), duplex.make_state(SLOTS)
    stepper = CudaGraphStepper(duplex, graphed, BUCKETS)
    for state in (eager, graphed):
        fresh(state)
    rng = torch.Generator().manual_seed(0)
    for tick in range(60):
        count = BUCKETS[-1 - tick // 20]
        plan = SamplingPlan() if tick % 10 == 3 else COMMON_PLAN
        pcm = torch.randn(count, FRAME_SAMPLES, generator=rng) * 0.1
        active = torch.rand(count, generator=rng) < 0.8
        if tick == 15:
            for state in (eager, graphed):
                copy_row_(state, SLOTS - 1, 0)
                clear_row_(state, SLOTS - 1)
        with no_waiting():
            pending = stepper.begin(DuplexInputs(pcm), active, plan, tick)
        frame = pending()
        expected = duplex.step(DuplexInputs(pcm.cuda()), rows(eager, count), active.cuda(), plan)
        assert torch.equal(frame.spoken, expected.spoken.cpu())
        assert torch.equal(frame.input_codes[active], expected.input_codes.cpu()[active])
        assert torch.equal(frame.tokens[frame.spoken], expected.tokens.cpu()[frame.spoken])
        assert torch.equal(frame.pcm[frame.spoken], expected.pcm.cpu()[frame.spoken])
        assert frame.finite[active].all()
    for here, there in zip(tensors(eager.delays), tensors(graphed.delays), strict=True):
        assert torch.equal(here, there)


@torch.inference_mode()
def test_nan_in_one_slot_stays_in_that_slot(duplex: Duplex):
    state = duplex.make_state(SLOTS)
    stepper = CudaGraphStepper(duplex, state, BUCKETS)
    fresh(state)
    pcm, active = torch.zeros(SLOTS, FRAME_SAMPLES), torch.ones(SLOTS, dtype=torch.bool)
    for tick in range(6):
        if tick == 3:
            state.temporal.rings[0].keys[2, :, 1] = torch.nan
        finite = stepper.begin(DuplexInputs(pcm), active, COMMON_PLAN, tick)().finite.tolist()
        assert finite == [not (slot == 2 and tick >= 3) for slot in range(SLOTS)]
