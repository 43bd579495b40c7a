"""The model's own commands print on terminals that are not UTF-8, and refuse invalid numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model import plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "encoding", "printed"),
    [
        (["model.plan", "--gpu", "l4", "--quantization", "int8"], "ascii", b"1.5 ?s each"),
        (["model.bench", "model/demo/checkpoint", "--callers", "1", "--steps", "1"], "cp1252", b"1.0\xd7"),
        (["model.bench", "model/demo/checkpoint", "--callers", "1", "--steps", "1"], "ascii", b"1.0?"),
    ],
)
def test_a_command_prints_in_any_encoding(arguments: list[str], encoding: str, printed: bytes):
    finished = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert printed in finished.stdout


@pytest.mark.parametrize(("flag", "value"), [("--callers", "0"), ("--window", "many")])
def test_an_invalid_number_is_named_with_its_flag(flag: str, value: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        plan.main(["--gpu", "l4", flag, value])
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert flag in complaint and value in complaint
