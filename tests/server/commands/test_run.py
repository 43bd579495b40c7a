"""`parley run`: a sound file in; sound, words and tokens out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from server.cli import main

pytest.importorskip("torch")

from model.checkpoints.random import write_checkpoint

FRAME_SAMPLES = 1_920


@pytest.fixture(scope="module")
def babble(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights, which have something to say to everything."""
    directory = tmp_path_factory.mktemp("babble")
    write_checkpoint(directory)
    return str(directory)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Just over one second in stereo at 44.1 kHz."""
    time = np.arange(int(44_100 * 1.1)) / 44_100
    voice = 0.3 * np.sin(2 * np.pi * 200 * time + 4 * np.sin(8 * time))
    path = tmp_path / "in.wav"
    soundfile.write(path, np.stack([voice, voice * 0.5], 1), 44_100)
    return path


def run(model: str, wav: Path, folder: Path, *flags: str) -> tuple[np.ndarray, str, dict[str, np.ndarray]]:
    folder.mkdir()
    out = [f"--out-{kind}={folder / kind}" for kind in ("wav", "text", "tokens")]
    assert main(["run", str(wav), "--model", model, *out, *flags]) == 0
    pcm, rate_hz = soundfile.read(folder / "wav", dtype="int16")
    assert rate_hz == 24_000
    assert pcm.ndim == 1
    return pcm, (folder / "text").read_text("utf-8"), load_file(folder / "tokens")


def test_what_is_written(babble: str, wav: Path, tmp_path: Path):
    pcm, text, tokens = run(babble, wav, tmp_path / "a", "--greedy")
    assert len(pcm) == 12 * FRAME_SAMPLES
    assert tokens["codes"].shape == (8, 13)
    assert tokens["tokens"].shape == (12, 9)
    assert {array.dtype for array in tokens.values()} == {np.dtype(np.int32)}
    assert text.strip()


def test_a_seed_repeats_a_run(babble: str, wav: Path, tmp_path: Path):
    seeds = (("a", 1), ("b", 1), ("c", 2))
    runs = [run(babble, wav, tmp_path / name, f"--seed={seed}")[2]["tokens"] for name, seed in seeds]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_the_makers_recommendation_holds_where_nothing_is_asked(babble: str, wav: Path, tmp_path: Path):
    model = shutil.copytree(babble, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"lm_gen_config": {"use_sampling": False}}))
    recommended = run(str(model), wav, tmp_path / "a")[2]["tokens"]
    greedy, drawn = (
        run(babble, wav, tmp_path / name, *flags)[2]["tokens"] for name, flags in (("b", ["--greedy"]), ("c", []))
    )
    np.testing.assert_array_equal(recommended, greedy)
    assert not np.array_equal(recommended, drawn)


def test_text_goes_to_the_terminal(babble: str, wav: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", str(wav), "--model", babble, "--greedy"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("flags", "status", "sentence"),
    [
        (["none.wav"], 1, "no such file"),
        (["{wav}", "--model", "./none"], 1, "no checkpoint directory"),
        (["{wav}", "--seed", "-1"], 2, "--seed"),
        (["{short}"], 1, "shorter than one frame"),
        (["{wav}", "--out-wav", "/nowhere/out.wav"], 1, "no directory /nowhere"),
        (["{wav}", "--out-text", "/nowhere/text"], 1, "no directory /nowhere"),
        (["{wav}", "--out-tokens", "/nowhere/tokens"], 1, "no directory /nowhere"),
        (["{wav}", "--out-text", "/"], 1, "/"),
    ],
)
def test_what_goes_wrong_is_said(
    wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], status: int, sentence: str
):
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(1000), 24_000)
    assert main(["run", *[flag.format(wav=wav, short=short) for flag in flags]]) == status
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_help_needs_no_torch():
    code = """
import sys
from server.cli import main
try:
    main(["run", "--help"])
except SystemExit:
    assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
