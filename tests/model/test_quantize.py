"""8-bit numbers: their error, exact round trips, and a model with 8-bit weights and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.execution.traced import TracedStep
from model.modes.duplex import Duplex, DuplexInputs, DuplexState
from model.network.layers import Linear
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.quantize import EIGHT_BIT, dequantize, quantize
from model.state import clear_row_, copy_row_, nbytes, tensors
from tests.golden.cases import speech_like

CPU = torch.device("cpu")
GREEDY = SamplingPlan(greedy=True, penalised=False)


@pytest.fixture(scope="module", params=EIGHT_BIT, ids=str)
def small(request: pytest.FixtureRequest, babble_directory: Path) -> tuple[Duplex, torch.dtype]:
    checkpoint = find(in_directory(babble_directory))
    return build(checkpoint, CPU, torch.float32, weight_dtype=request.param)[0], request.param


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.int8, 0.5 / 127), (torch.float8_e4m3fn, 2**-4)])
def test_quantisation_error_is_within_half_a_step(dtype: torch.dtype, bound: float):
    """Int8 is off by half a step of its row's largest number; fp8 by half a step of the number's own binade."""
    numbers = noise(50, 64) * noise(50, 1, seed=1).exp()
    off = (dequantize(*quantize(numbers, dtype), torch.float32) - numbers).abs()
    largest = numbers.abs().amax(-1, keepdim=True)
    against = largest if dtype == torch.int8 else numbers.abs().clamp(min=largest * 2**-14)
    assert (off <= against * bound * 1.001).all()


@pytest.mark.parametrize("dtype", EIGHT_BIT, ids=str)
def test_8_bit_rows_round_trip_exactly(dtype: torch.dtype):
    bits, scale = quantize(noise(20, 64), dtype)
    again, scale_again = quantize(dequantize(bits, scale, torch.float32), dtype)
    assert torch.equal(bits.float(), again.float())
    assert torch.allclose(scale, scale_again, rtol=1e-6)


@pytest.mark.parametrize("dtype", EIGHT_BIT, ids=str)
def test_zeros_stay_zeros_and_nan_stays_nan(dtype: torch.dtype):
    numbers = noise(4, 8)
    numbers[0] = 0
    numbers[1, 3], numbers[2, 5] = torch.nan, torch.inf
    back = dequantize(*quantize(numbers, dtype), torch.float32)
    assert (back[0] == 0).all()
    assert not back[1].isfinite().any()
    assert not back[2].isfinite().all()
    assert back[3].isfinite().all()


def test_every_linear_of_the_language_model_is_in_8_bits(small: tuple[Duplex, torch.dtype], babble: Duplex):
    duplex, dtype = small
    for part in (duplex.temporal, duplex.depth):
        linears = [module for module in part.modules() if isinstance(module, Linear)]
        assert linears and all(linear.weight.dtype == dtype for linear in linears)
    assert all(parameter.dtype == torch.float32 for parameter in duplex.mimi.parameters())
    x = noise(3, 128)
    expected = x @ dequantize(*quantize(babble.temporal.text_head.weight, dtype), torch.float32).T
    assert torch.allclose(duplex.temporal.text_head(x), expected, atol=1e-5)


def run(duplex: Duplex, state: DuplexState, frames: int) -> torch.Tensor:
    """Step every slot with the same sound. Returns the tokens [frames, S, 1 + dep_q]."""
    pcm = torch.from_numpy(speech_like(frames).astype(np.float32) / 32768).view(frames, 1, FRAME_SAMPLES)
    slots = len(state.delays.offset)
    with torch.inference_mode():
        every = (DuplexInputs(frame.expand(slots, -1)) for frame in pcm)
        return torch.stack([duplex.step(inputs, state, None, GREEDY).tokens for inputs in every])


def test_8_bit_hidden_states_are_near_those_of_float32(small: tuple[Duplex, torch.dtype], babble: Duplex):
    """Weights and keys in 8 bits, after twenty columns through all layers."""
    duplex, dtype = small
    state, exact = duplex.temporal.make_state(1, dtype), babble.temporal.make_state(1)
    assert nbytes(state.rings) == nbytes(exact.rings) * (32 + 4) // (
        4 * 32
    )  # heads of 32 numbers, and a scale of 4 bytes for each
    columns = torch.randint(256, (1, 20, 17), generator=torch.Generator().manual_seed(0))
    hidden, expected = (model.temporal(columns, s, None)[0] for model, s in ((duplex, state), (babble, exact)))
    off = (hidden - expected).norm() / expected.norm()
    assert 1e-4 < off < (0.03 if dtype == torch.int8 else 0.1)


def test_a_slot_in_eight_bits_is_cleared_and_copied_whole(small: tuple[Duplex, torch.dtype]):
    duplex, dtype = small
    state = duplex.make_state(2, dtype)
    run(duplex, state, 5)
    clear_row_(state, 0)
    assert all(not tensor[0].float().any() for tensor in tensors(state))
    copy_row_(state, 1, 0)
    tokens = run(duplex, state, 10)
    assert torch.equal(tokens[:, 0], tokens[:, 1])


@torch.inference_mode()
def test_a_traced_step_in_8_bits_equals_the_eager_one(small: tuple[Duplex, torch.dtype]):
    duplex, _ = small
    states = [duplex.make_state(1, torch.int8), duplex.make_state(1, torch.int8)]
    traced = TracedStep(duplex, duplex.make_state(1, torch.int8))
    active = torch.ones(1, dtype=torch.bool)
    for frame in torch.from_numpy(speech_like(5).astype(np.float32) / 32768).view(5, 1, FRAME_SAMPLES):
        inputs = DuplexInputs(frame)
        ours, theirs = duplex.step(inputs, states[0], active, COMMON_PLAN), traced(inputs, states[1], active)
        assert torch.equal(ours.tokens, theirs.tokens)
        assert torch.equal(ours.pcm, theirs.pcm)
