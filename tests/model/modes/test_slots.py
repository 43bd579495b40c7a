"""Slots are isolated from each other: a call does not depend on any other in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from model.audio import FRAME_SAMPLES
from model.modes.duplex import Duplex, DuplexInputs, DuplexState
from model.network.sampling import SamplingPlan
from model.state import clear_row_, copy_row_, nbytes, rows, tensors
from tests.golden.cases import speech_like

FRAMES = 24
PLAN = SamplingPlan()


@dataclass
class Caller:
    """A caller in a slot, with the sound of its seed. It sends no frame at the ticks in `pauses`."""

    slot: int
    seed: int
    pauses: frozenset[int] = frozenset()
    joins: int = 0
    leaves: int = 10**9


def choose(state: DuplexState, slot: int, seed: int) -> None:
    """Write a caller's sampling parameters into the state, as the server does."""
    choices = state.sampling
    choices.text_temperature[slot], choices.text_top_k[slot] = 0.7, 25
    choices.audio_temperature[slot], choices.audio_top_k[slot] = 0.8, 100
    choices.text_seed[slot] = choices.audio_seed[slot] = seed
    choices.penalty[slot], choices.penalty_span[slot] = 1.3, 20
    choices.pad_bonus[slot] = 0.5


@torch.inference_mode()
def call(duplex: Duplex, slots: int, callers: list[Caller], frames: int = FRAMES) -> dict[int, tuple[Tensor, Tensor]]:
    """Step the callers together. Returns the tokens and the sound of each, by seed."""
    state = duplex.make_state(slots)
    sounds = {c.seed: torch.from_numpy(speech_like(frames, c.seed).astype(np.float32) / 32768) for c in callers}
    heard = dict.fromkeys(sounds, 0)
    said: dict[int, list[tuple[Tensor, Tensor]]] = {c.seed: [] for c in callers}
    for tick in range(2 * frames):
        pcm = torch.zeros(slots, FRAME_SAMPLES)
        active = torch.zeros(slots, dtype=torch.bool)
        speakers = []
        for c in callers:
            if tick == c.joins:
                clear_row_(state, c.slot)
                choose(state, c.slot, c.seed)
            if c.joins <= tick < c.leaves and tick not in c.pauses and heard[c.seed] < frames:
                at = heard[c.seed] * FRAME_SAMPLES
                pcm[c.slot] = sounds[c.seed][at : at + FRAME_SAMPLES]
                active[c.slot] = True
                speakers.append(c)
                heard[c.seed] += 1
        frame = duplex.step(DuplexInputs(pcm), state, active, PLAN, max(heard.values()))
        for c in speakers:
            if frame.spoken[c.slot]:
                said[c.seed].append((frame.tokens[c.slot].clone(), frame.pcm[c.slot].clone()))
    return {seed: (torch.stack([t for t, _ in s]), torch.stack([p for _, p in s])) for seed, s in said.items() if s}


def test_a_call_does_not_depend_on_its_neighbours(babble: Duplex):
    """Tokens and sound are equal bit for bit within one bucket, while others join, pause or leave."""
    me = Caller(slot=1, seed=1)
    others = [
        Caller(0, 2, pauses=frozenset({3, 4, 9})),
        Caller(2, 3, joins=5),
        Caller(3, 4, leaves=7),
        Caller(3, 5, joins=9),
    ]
    alone = call(babble, 4, [me])[1]
    among = call(babble, 4, [me, *others])[1]
    assert torch.equal(alone[0], among[0])
    assert torch.equal(alone[1], among[1])


def test_a_call_does_not_depend_on_pauses(babble: Duplex):
    """The state of an inactive slot does not change."""
    steady = call(babble, 2, [Caller(0, 1)])[1]
    halting = call(babble, 2, [Caller(0, 1, pauses=frozenset({0, 1, 5, 6, 7, 20})), Caller(1, 2)])[1]
    assert torch.equal(steady[0], halting[0])
    assert torch.equal(steady[1], halting[1])


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_tokens_do_not_depend_on_the_bucket(babble: Duplex, slots: int):
    """Products round differently for different batch sizes, but in float32 the tokens are equal."""
    reference = call(babble, 4, [Caller(2, 1)])[1]
    tokens, sound = call(babble, slots, [Caller(slots - 1, 1)])[1]
    assert torch.equal(tokens, reference[0])
    assert torch.allclose(sound, reference[1], atol=1e-5)


def test_a_reused_slot_starts_fresh(babble: Duplex):
    """A new caller in a used slot gets the tokens and the sound of an unused slot."""
    fresh = call(babble, 2, [Caller(0, 1)])[1]
    again = call(babble, 2, [Caller(0, 2, leaves=13), Caller(0, 1, joins=13)])[1]
    assert torch.equal(fresh[0], again[0])
    assert torch.equal(fresh[1], again[1])


@pytest.mark.parametrize("poison", ["temporal", "decoder"])
@torch.inference_mode()
def test_nan_in_one_slot_stays_in_that_slot(babble: Duplex, poison: str):
    """Only that slot is reported as not finite, the others are equal bit for bit, and clearing the slot repairs it."""
    sound, broken = babble.make_state(3), babble.make_state(3)
    for state in (sound, broken):
        for slot in range(3):
            choose(state, slot, slot)
    pcm = torch.from_numpy(speech_like(9).astype(np.float32) / 32768).view(9, 1, FRAME_SAMPLES).expand(-1, 3, -1)
    for tick, frame in enumerate(pcm):
        if tick == 3:
            if poison == "temporal":
                broken.temporal.rings[0].keys[1, :, 1] = torch.nan
            else:
                broken.decoder.upsample[1] = torch.inf
        if tick == 6:
            for state in (sound, broken):
                clear_row_(state, 1)
        ours, theirs = (babble.step(DuplexInputs(frame), one, None, PLAN) for one in (sound, broken))
        assert ours.finite.all()
        assert theirs.finite.tolist() == [True, not 3 <= tick < 6, True]
        whole = [0, 1, 2] if tick < 3 or tick >= 6 else [0, 2]
        assert torch.equal(ours.tokens[whole], theirs.tokens[whole])
        assert torch.equal(ours.pcm[whole], theirs.pcm[whole])


@torch.inference_mode()
def test_infinite_logits_are_reported_in_the_same_step(babble: Duplex, monkeypatch: pytest.MonkeyPatch):
    """Also those of the last codebook, which no later computation uses."""
    heads, state = babble.depth.heads, babble.make_state(1)
    monkeypatch.setattr(heads[-1], "forward", lambda x: torch.full((1, babble.config.audio_vocab), -torch.inf))
    assert not babble.step(DuplexInputs(torch.zeros(1, FRAME_SAMPLES)), state, None, PLAN).finite.any()


def test_different_seeds_give_different_calls(babble: Duplex):
    """The same sound gives equal tokens for equal seeds, and different tokens for different seeds."""

    def tokens(seed: int) -> Tensor:
        with torch.inference_mode():
            state = babble.make_state(1)
            choose(state, 0, seed)
            pcm = torch.from_numpy(speech_like(8).astype(np.float32) / 32768).split(FRAME_SAMPLES)
            return torch.cat([babble.step(DuplexInputs(frame[None]), state, None, PLAN).tokens for frame in pcm])

    assert torch.equal(tokens(7), tokens(7))
    assert not torch.equal(tokens(7), tokens(8))


@torch.inference_mode()
def test_a_copied_slot_continues_identically(babble: Duplex):
    state = babble.make_state(2)
    choose(state, 0, 3)
    pcm = torch.from_numpy(speech_like(12).astype(np.float32) / 32768).view(12, 1, FRAME_SAMPLES).expand(-1, 2, -1)
    for frame in pcm[:6]:
        babble.step(DuplexInputs(frame), state, torch.tensor([True, False]), PLAN)
    copy_row_(state, 0, 1)
    for frame in pcm[6:]:
        tokens = babble.step(DuplexInputs(frame), state, None, PLAN).tokens
        assert torch.equal(tokens[0], tokens[1])


def test_views_share_the_state(babble: Duplex):
    """A bucket is a view, so a smaller batch copies nothing."""
    state = babble.make_state(4)
    view = rows(state, 2)
    pairs = list(zip(tensors(state), tensors(view), strict=True))
    assert all(small.data_ptr() == whole.data_ptr() and len(small) == 2 for whole, small in pairs)
    assert nbytes(view) * 2 == nbytes(state)


@torch.inference_mode()
def test_a_call_longer_than_every_window_stays_finite(babble: Duplex):
    """After ten times every window the model still speaks, its output is finite and the state has the same size."""
    state = babble.make_state(1)
    before = nbytes(state)
    pcm = torch.from_numpy(speech_like(50).astype(np.float32) / 32768).view(50, 1, FRAME_SAMPLES)
    tokens = []
    for tick in range(520):  # Mimi's window here is 25 frames
        frame = babble.step(DuplexInputs(pcm[tick % 50]), state, None, SamplingPlan(greedy=True, penalised=False), tick)
        assert frame.pcm.isfinite().all()
        tokens.append(frame.tokens)
    assert nbytes(state) == before
    assert len(torch.cat(tokens[-50:])[:, 1].unique()) > 3
