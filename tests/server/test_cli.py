from __future__ import annotations

import subprocess
import sys

import pytest

from server.cli import main
from tests.server.phone import PATIENCE_S

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it raises
from server.cli import main
{lines}
"""


def run_without_torch(lines: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_TORCH.format(lines=lines)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("command", ["serve", "load"])
def test_help_needs_no_torch(command: str):
    done = run_without_torch(f'main(["{command}", "--help"])')
    assert done.returncode == 0, done.stderr
    assert f"parley {command}" in done.stdout


def test_the_echo_needs_no_torch():
    lines = """
from server.commands.serve import runner_factory
from server.settings import Settings
print(*(runner_factory(Settings(model="echo", slots=slots))().slots for slots in (3, "auto")))
"""
    assert run_without_torch(lines).stdout.split() == ["3", "8"]


def test_plan_is_a_command_of_the_model(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("torch")
    assert main(["plan", "--gpu", "h200"]) == 0
    assert "memory is the limit" in capsys.readouterr().out


def test_help_writes_words_as_they_are_written(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "\nSay how many callers a GPU would hold, before you rent it.\n" in capsys.readouterr().out


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        main(["serve", "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
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
        assert flag in told
    for choices in ("--device {auto,cpu,cuda,mps}", "--dtype {auto,float32,bfloat16,float16}", "--max-call-s S"):
        assert choices in told


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        main(["sing"])
    assert left.value.code == 2
    assert "sing" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "load"])
def test_a_missing_opus_library_is_one_sentence(command: str):
    code = f"""
import ctypes.util, sys
ctypes.util.find_library = lambda name: None
from server.cli import main
sys.exit(main(["{command}", "--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("parley: ") and "libopus" in line
