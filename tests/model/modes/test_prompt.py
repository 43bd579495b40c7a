"""Prefill and snapshots give the same state as steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import BABBLE, write_checkpoint
from model.modes.duplex import Duplex, DuplexInputs, DuplexState
from model.modes.prompt import prefill
from model.network.sampling import SamplingPlan
from model.state import nbytes, restore_, row, snapshot, tensors
from tests.golden.cases import speech_like

GREEDY = SamplingPlan(greedy=True, penalised=False)
CONTEXT = 30
# Text | own | user: streams with different delays, one of them 0.
DELAYS = [0, 0, 1, 2, 2, 1, 3, 1, 1, 0, 1, 2, 1, 3, 1, 1, 2]


@pytest.fixture(scope="module")
def duplex(tmp_path_factory: pytest.TempPathFactory) -> Duplex:
    """A model with a window short enough to fill, and different delays."""
    directory: Path = tmp_path_factory.mktemp("short")
    write_checkpoint(directory, BABBLE | {"context": CONTEXT, "delays": DELAYS})
    return build(find(in_directory(directory)), torch.device("cpu"), torch.float32)[0]


def frames(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(speech_like(count, seed).astype(np.float32) / 32768).view(count, 1, FRAME_SAMPLES)


def greedy_call(duplex: Duplex, state: DuplexState, slot: int, pcm: Tensor) -> tuple[Tensor, Tensor]:
    """Step one slot. Returns the columns of the steps [T, 1 + n_q], as `prefill` takes them, and the frames' tokens."""
    active = torch.arange(len(state.delays.offset)) == slot
    delays, lived, said = duplex.delays, [], []
    for frame in pcm:
        step = duplex.step(DuplexInputs(frame.expand(len(active), -1)), state, active, GREEDY)
        at = state.delays.offset[slot] % delays.capacity  # the column that was written last
        own = state.delays.columns[slot, : delays.first_user, at]
        lived.append(torch.cat([own, step.input_codes[slot, : duplex.config.user_q]]))
        said.append(step.tokens[slot])
    return torch.stack(lived), torch.stack(said)


@pytest.mark.parametrize("cut", [[1], [2, 1, 3], [CONTEXT], [CONTEXT - 1, 3], [2 * CONTEXT + 5]])
@torch.inference_mode()
def test_prefill_leaves_the_state_of_steps(duplex: Duplex, cut: list[int]):
    """In one or several parts, and shorter than, equal to and longer than the window."""
    stepped, prefilled = duplex.make_state(2), duplex.make_state(3)
    pcm = frames(sum(cut) + 8)
    lived, _ = greedy_call(duplex, stepped, 1, pcm[: sum(cut)])
    for piece in lived.split(cut):
        prefill(duplex, piece, prefilled, 2)

    for name in ("columns", "offset"):
        here, there = getattr(stepped.delays, name)[1], getattr(prefilled.delays, name)[2]
        assert torch.equal(here, there)
    here, there = row(stepped.temporal, 1), row(prefilled.temporal, 2)
    assert torch.equal(here.length, there.length)
    for one, other in zip(tensors(here), tensors(there), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert not any(tensor[:2].any() for tensor in tensors(prefilled)), "prefill changed a neighbour"

    # A prompt does not include the codec's state. With the same codec state, the next tokens are equal.
    restore_(prefilled.encoder, 2, snapshot(stepped.encoder, 1))
    restore_(prefilled.decoder, 2, snapshot(stepped.decoder, 1))
    _, goes_on = greedy_call(duplex, stepped, 1, pcm[sum(cut) :])
    _, prompted = greedy_call(duplex, prefilled, 2, pcm[sum(cut) :])
    assert torch.equal(goes_on, prompted)
    assert len(goes_on[:, 1].unique()) > 2


@pytest.mark.parametrize("length", [0, 7, CONTEXT + 20])
@torch.inference_mode()
def test_a_restored_slot_continues_identically(duplex: Duplex, length: int):
    """The snapshot is restored into another, used slot. It has no columns that are still unused."""
    state = duplex.make_state(2)
    pcm = frames(length + 8)
    for frame in pcm[:length]:
        duplex.step(DuplexInputs(frame.expand(2, -1)), state, torch.tensor([False, True]), GREEDY)
    saved = snapshot(state, 1)
    whole = nbytes(row(state, 1))
    assert nbytes(saved) < whole if length < CONTEXT else nbytes(saved) == whole

    first = greedy_call(duplex, state, 1, pcm[length:])
    other = duplex.make_state(3)
    greedy_call(duplex, other, 1, frames(12, seed=1))
    restore_(other, 1, saved)
    assert torch.equal(first[1], greedy_call(duplex, other, 1, pcm[length:])[1])
