"""The precision tables: float32 does not differ from itself, fewer bits differ more, every row is printed."""

from __future__ import annotations

import math
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
import torch

from model import precision
from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import BABBLE, write_checkpoint
from model.modes.duplex import Duplex
from model.precision import FORMATS, ReferenceCall, compare, divergence, encode, logits, speech, talk

FRAMES = 12


@pytest.fixture(scope="module")
def call(babble: Duplex) -> ReferenceCall:
    with torch.inference_mode():
        heard = encode(babble.mimi, speech(None, FRAMES))
        columns, tokens = zip(*talk(babble, heard), strict=True)
    return ReferenceCall(heard, torch.stack(columns, 1), torch.stack(tokens, 1))


@torch.inference_mode()
def test_float32_does_not_differ_from_itself(babble: Duplex, call: ReferenceCall):
    """All columns in one pass and one by one give the same logits, except for the last bits."""
    error = compare(babble, None, call, logits(babble, call))
    assert error.text.max() == error.audio.max() == 0
    assert (error.agreement == 1).all()
    assert error.same_frames == [FRAMES] * len(call.heard)
    one_by_one = [tokens for _, tokens in talk(babble, call.heard)]
    at_once = torch.stack([stream.argmax(-1) for stream in logits(babble, call)], -1)
    assert torch.equal(torch.stack(one_by_one, 1), at_once)


@torch.inference_mode()
def test_fewer_bits_differ_more(babble: Duplex, babble_directory: Path, call: ReferenceCall):
    exact = logits(babble, call)
    kv = {dtype: compare(babble, dtype, call, exact) for dtype in (torch.int8, torch.float8_e4m3fn)}
    assert 0 < kv[torch.int8].audio.mean() < kv[torch.float8_e4m3fn].audio.mean() < 0.1
    int8, _ = build(find(in_directory(babble_directory)), torch.device("cpu"), torch.float32, weight_dtype=torch.int8)
    error = compare(int8, None, call, exact)
    assert 0 < error.text.mean() < 0.01
    assert (error.agreement > 0.8).all()


def test_divergence_equals_kullback_leiblers_formula():
    even, odd = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    assert divergence(even, even).item() == 0
    assert divergence(even, odd).item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))


@torch.inference_mode()
def test_codes_equal_those_of_a_call(babble: Duplex):
    pcm = speech(None, FRAMES)
    state = babble.mimi.make_encoder_state(len(pcm))
    frames = [babble.mimi.encode(frame, state, None)[:, 0] for frame in pcm.split(FRAME_SAMPLES, dim=1)]
    codes = encode(babble.mimi, pcm)
    assert torch.equal(codes, torch.stack(frames, 1))
    assert 0.5 < (encode(babble.mimi, pcm, torch.bfloat16) == codes).float().mean() < 1


def test_the_table_has_every_row(
    babble_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    spoken = tmp_path / "spoken.wav"
    with wave.open(str(spoken), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes((speech(None, 5)[0] * 32767).to(torch.int16).numpy().tobytes())
    monkeypatch.setattr(sys, "argv", ["precision", str(babble_directory), "--frames", "4", "--wav", str(spoken)])
    precision.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) == 3 + len(FORMATS) + 4
    assert {row.count("|") for row in rows[: 3 + len(FORMATS)]} == {9}
    assert rows[3].startswith("| float32, int8 weights and kv | ")


def test_random_layers_of_the_7b(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A checkpoint with the requested number of layers is written, measured and deleted. Small here, to be fast."""
    made: list[Path] = []

    def write(directory: Path, lm: dict[str, Any], *, dtype: torch.dtype) -> None:
        assert lm == {"num_layers": 2, "depformer_num_layers": 1}
        made.append(directory)
        write_checkpoint(directory, BABBLE | lm, dtype=dtype)

    monkeypatch.setattr(precision, "write_checkpoint", write)
    monkeypatch.setattr(precision, "FORMATS", FORMATS[:1])
    monkeypatch.setattr(sys, "argv", ["precision", "--random-7b", "2", "--frames", "3"])
    precision.main()
    assert "| float32, int8 weights and kv | " in capsys.readouterr().out
    assert not made[0].exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"), [(["nowhere"], "no checkpoint directory"), (["--frames", "300"], "window holds 250")]
)
def test_bad_arguments_are_explained(
    babble_directory: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
):
    source = [str(babble_directory)] if arguments[0].startswith("--") else []
    monkeypatch.setattr(sys, "argv", ["precision", *source, *arguments])
    with pytest.raises(SystemExit, match=sentence):
        precision.main()
