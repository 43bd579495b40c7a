"""Mimi: coding frame by frame and all frames at once."""

from __future__ import annotations

import numpy as np
import torch

from model.audio import FRAME_SAMPLES
from model.modes.duplex import Duplex
from tests.golden.cases import speech_like

FRAMES = 20  # 40 positions: within the window of 50


@torch.inference_mode()
def test_streaming_gives_the_codes_and_sound_of_offline_coding(babble: Duplex):
    """Until the window is full, the result does not depend on how the sound is split into frames."""
    mimi = babble.mimi
    pcm = torch.from_numpy(speech_like(FRAMES).astype(np.float32) / 32768)[None]
    offline = mimi.encode(pcm, mimi.make_encoder_state(1), None)
    state = mimi.make_encoder_state(1)
    streamed = [mimi.encode(frame, state, None) for frame in pcm.split(FRAME_SAMPLES, dim=1)]
    assert torch.equal(torch.cat(streamed, dim=1), offline)

    whole = mimi.decode(offline, mimi.make_decoder_state(1), None)
    decoder = mimi.make_decoder_state(1)
    parts = [mimi.decode(code, decoder, None) for code in offline.split(1, dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


@torch.inference_mode()
def test_fewer_codebooks_can_be_decoded(babble: Duplex):
    mimi = babble.mimi
    codes = torch.zeros(2, 1, 3, dtype=torch.int64)
    assert mimi.decode(codes, mimi.make_decoder_state(2), None).shape == (2, FRAME_SAMPLES)


@torch.inference_mode()
def test_an_idle_row_keeps_its_state(babble: Duplex):
    mimi = babble.mimi
    pcm = torch.from_numpy(speech_like(4).astype(np.float32) / 32768).view(4, 1, FRAME_SAMPLES).expand(-1, 2, -1)
    state = mimi.make_encoder_state(2)
    mimi.encode(pcm[0], state, None)
    mimi.encode(pcm[1], state, torch.tensor([True, False]))
    here, there = mimi.encode(pcm[2], state, None)
    assert not torch.equal(here, there)
    state = mimi.make_encoder_state(2)
    mimi.encode(pcm[0], state, None)
    without = mimi.encode(pcm[2], state, None)[1]
    assert torch.equal(there, without)
