"""Codes, tokens and sound equal the reference's, on checkpoints that differ in every dimension."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.modes.duplex import DuplexInputs
from model.network.sampling import SamplingPlan
from tests.golden.cases import CASES, PCM_STEP, speech_like

GREEDY = SamplingPlan(greedy=True, penalised=False)


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_codes_tokens_and_sound_equal_the_reference(name: str, checkpoints):
    golden = load_file(Path(__file__).parents[1] / "golden" / f"{name}.safetensors")
    duplex, _ = build(find(in_directory(checkpoints(name))), torch.device("cpu"), torch.float32)
    state = duplex.make_state(1)
    pcm = torch.from_numpy(speech_like().astype(np.float32) / 32768)
    frames = [duplex.step(DuplexInputs(frame[None]), state, None, GREEDY) for frame in pcm.split(FRAME_SAMPLES)]
    said = [frame for frame in frames if frame.spoken[0]]

    codes = torch.cat([frame.input_codes for frame in frames]).T
    np.testing.assert_array_equal(codes, golden["codes"][: len(codes)])
    np.testing.assert_array_equal(torch.cat([frame.tokens for frame in said]), golden["tokens"])
    sound = torch.cat([frame.pcm[0] for frame in said])[::PCM_STEP]
    np.testing.assert_allclose(sound, golden["pcm"], atol=1e-4 * float(golden["pcm"].abs().max()))


def test_golden_calls_vary_enough():
    """A golden call that repeats itself would prove little."""
    for name in CASES:
        golden = load_file(Path(__file__).parents[1] / "golden" / f"{name}.safetensors")
        streams = [*golden["codes"], *golden["tokens"].T]
        assert min(len(stream.unique()) for stream in streams) >= 10, name
