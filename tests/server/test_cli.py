from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sentencepiece import SentencePieceProcessor

from server.cli import main
from tests.server.chat_client import TIMEOUT_S

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it raises
from server.cli import main
{lines}
"""


def run_without_torch(lines: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_TORCH.format(lines=lines)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.parametrize("command", ["serve", "load"])
def test_help_does_not_import_torch(command: str):
    done = run_without_torch(f'main(["{command}", "--help"])')
    assert done.returncode == 0, done.stderr
    assert f"parley {command}" in done.stdout


def test_echo_runner_does_not_import_torch():
    lines = """
from server.commands.serve import runner_factory
from server.settings import Settings
print(*(runner_factory(Settings(model="echo", slots=slots))().slots for slots in (3, "auto")))
"""
    assert run_without_torch(lines).stdout.split() == ["3", "8"]


def test_argument_equal_to_a_subcommand_does_not_import_torch():
    done = run_without_torch('main(["load", "http://127.0.0.1:9", "--wav", "plan"])')
    assert "parley load: plan: no such file" in done.stderr
    assert "torch" not in done.stderr


def test_plan_prints_what_limits_the_slots(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("torch")
    assert main(["plan", "--gpu", "h200"]) == 0
    assert "memory is the limit" in capsys.readouterr().out


def test_help_keeps_the_capitals_of_its_description(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "\nEstimate how many calls a GPU can hold.\n" in capsys.readouterr().out


def test_serve_help_lists_the_flags_with_their_choices(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        main(["serve", "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for flag in (
        "--host",
        "--port",
        "--model",
        "--slots",
        "--device",
        "--dtype",
        "--quantization",
        "--kv-cache-dtype",
        "--max-waiting",
    ):
        assert flag in shown
    for choices in ("--device {auto,cpu,cuda,mps}", "--dtype {auto,float32,bfloat16,float16}", "--max-call-s SECONDS"):
        assert choices in shown


def test_unknown_command_is_an_error_that_names_it(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        main(["sing"])
    assert left.value.code == 2
    assert "sing" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "load"])
def test_missing_opus_library_is_a_one_line_error(command: str):
    code = f"""
import ctypes.util, sys
ctypes.util.find_library = lambda name: None
from server.cli import main
sys.exit(main(["{command}", "--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("parley: ") and "libopus" in line


def run_in(encoding: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `parley` as on a terminal with `encoding`."""
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_plan_is_printed_on_an_ascii_terminal():
    pytest.importorskip("torch")
    done = run_in("ascii", "plan", "--gpu", "l4")
    assert done.returncode == 0, done.stderr
    assert r"\xb5s each" in done.stdout


def test_text_of_run_is_printed_on_a_cp1252_terminal(tmp_path: Path):
    pytest.importorskip("torch")
    from model.checkpoints.random import tokenizer, write_checkpoint

    write_checkpoint(tmp_path)
    pieces = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model")).get_piece_size()
    (tmp_path / "tokenizer.model").write_bytes(
        tokenizer(pieces, byte_fallback=True)
    )  # so that the model produces invalid UTF-8
    soundfile.write(tmp_path / "in.wav", np.zeros(24_000), 24_000)
    done = run_in("cp1252", "run", str(tmp_path / "in.wav"), "--model", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert r"\ufffd" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_load_report_is_printed_on_a_terminal_without_utf_8(encoding: str):
    done = run_in(encoding, "load", "http://127.0.0.1:9", "-n", "3", "-s", "0.1")
    assert done.returncode == 1
    assert {"ascii": r"3 \xd7 cannot connect", "cp1252": "3 × cannot connect"}[encoding] in done.stdout
    assert "Traceback" not in done.stderr


def test_error_is_printed_on_an_ascii_terminal():
    done = run_in("ascii", "load", "http://127.0.0.1:9", "--wav", "\u0444.wav")
    assert done.returncode == 2
    assert done.stderr == "parley load: \\u0444.wav: no such file.\n"
