"""`parley run`: a sound file in; audio, text and tokens out."""

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

FRAME_SAMPLES = 1_920


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A stereo file of 1.1 s at 44.1 kHz."""
    time = np.arange(int(44_100 * 1.1)) / 44_100
    voice = 0.3 * np.sin(2 * np.pi * 200 * time + 4 * np.sin(8 * time))
    path = tmp_path / "in.wav"
    soundfile.write(path, np.stack([voice, voice * 0.5], 1), 44_100)
    return path


def run_file(model: str, wav: Path, folder: Path, *flags: str) -> tuple[np.ndarray, str, dict[str, np.ndarray]]:
    """Run `parley run` with all outputs: PCM i16, text, and the arrays of the token file."""
    folder.mkdir()
    out = [f"--out-{kind}={folder / kind}" for kind in ("wav", "text", "tokens")]
    assert main(["run", str(wav), "--model", model, *out, *flags]) == 0
    pcm, rate_hz = soundfile.read(folder / "wav", dtype="int16")
    assert rate_hz == 24_000
    assert pcm.ndim == 1
    return pcm, (folder / "text").read_text("utf-8"), load_file(folder / "tokens")


def test_run_writes_audio_text_and_tokens(random_checkpoint: str, wav: Path, tmp_path: Path):
    pcm, text, tokens = run_file(random_checkpoint, wav, tmp_path / "a", "--greedy")
    assert len(pcm) == 12 * FRAME_SAMPLES
    assert tokens["codes"].shape == (8, 13)
    assert tokens["tokens"].shape == (12, 9)
    assert {array.dtype for array in tokens.values()} == {np.dtype(np.int32)}
    assert text.strip()


def test_same_seed_repeats_the_tokens(random_checkpoint: str, wav: Path, tmp_path: Path):
    seeds = (("a", 1), ("b", 1), ("c", 2))
    runs = [run_file(random_checkpoint, wav, tmp_path / name, f"--seed={seed}")[2]["tokens"] for name, seed in seeds]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_lm_gen_config_applies_without_sampling_flags(random_checkpoint: str, wav: Path, tmp_path: Path):
    model = shutil.copytree(random_checkpoint, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"lm_gen_config": {"use_sampling": False}}))
    recommended = run_file(str(model), wav, tmp_path / "a")[2]["tokens"]
    greedy, sampled = (
        run_file(random_checkpoint, wav, tmp_path / name, *flags)[2]["tokens"]
        for name, flags in (("b", ["--greedy"]), ("c", []))
    )
    np.testing.assert_array_equal(recommended, greedy)
    assert not np.array_equal(recommended, sampled)


def test_text_is_printed_without_out_text(random_checkpoint: str, wav: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", str(wav), "--model", random_checkpoint, "--greedy"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("flags", "status", "message"),
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
def test_bad_arguments_and_files_are_a_one_line_error(
    wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], status: int, message: str
):
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(1000), 24_000)
    assert main(["run", *[flag.format(wav=wav, short=short) for flag in flags]]) == status
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_help_does_not_import_torch():
    code = """
import sys
from server.cli import main
try:
    main(["run", "--help"])
except SystemExit:
    assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
