"""The command `parley plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.checkpoints.moshi_config import duplex_config
from model.hardware.gpus import GPUS
from model.plan import main, make_plan

README = Path(__file__).resolve().parents[2] / "README.md"


def planned(capsys: pytest.CaptureFixture[str], *flags: str) -> dict:
    assert main([*flags, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_states_its_assumptions(capsys: pytest.CaptureFixture[str]):
    assert main(["--gpu", "l4", "--quantization", "int8", "--kv-cache-dtype", "int8", "--callers", "4"]) == 0
    told = capsys.readouterr().out
    first, *_ = told.splitlines()
    assert "Nothing here was measured" in first
    for words in (
        "300 GB/s",
        "90%",
        "85%",
        "25%",
        "1.5 µs",
        "L4: 9 in real time",
        "15 in memory",
        "memory bandwidth is the limit",
    ):
        assert words in told
    for term in ("frame 80", "acoustic delay 80", "wait", "step", "network 30", "playout 40"):
        assert term in told


def test_the_parts_of_a_step_add_up_to_its_total(capsys: pytest.CaptureFixture[str]):
    plan = planned(capsys, "--gpu", "h200", "--callers", "32")
    assert plan["measured"] is False
    capacity, steps = plan["capacity"], {step["callers"]: step for step in plan["steps"]}
    assert (capacity["callers"], capacity["limit"]) == (capacity["in_memory"], "memory")
    assert steps[capacity["in_real_time"]]["total_s"] <= 0.070
    terms = ("weights_s", "keys_s", "codec_s", "launches_s")
    assert steps[32]["total_s"] == pytest.approx(sum(steps[32][term] for term in terms))
    terms = plan["mouth_to_ear"]["terms_s"]
    assert terms["step"] == steps[32]["total_s"] == 2 * terms["wait"]


def test_shorter_windows_and_fewer_bits_allow_more_callers(capsys: pytest.CaptureFixture[str]):
    def callers(*flags: str) -> int:
        return planned(capsys, "--gpu", "l4", "--quantization", "int8", *flags)["capacity"]["in_real_time"]

    assert callers() < callers("--kv-cache-dtype", "int8") < callers("--kv-cache-dtype", "int8", "--window", "375")


def test_any_checkpoint_can_be_planned_for(capsys: pytest.CaptureFixture[str], babble_directory: Path):
    plan = planned(capsys, "--gpu", "l4", "--model", str(babble_directory))
    assert plan["window_frames"] == 250
    assert plan["work"]["weight_bytes"] < 10e6


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--window", "4000"], "longer than the model's context of 3000 frames"),
        (["--model", "./nowhere"], "no checkpoint directory"),
    ],
)
def test_an_impossible_plan_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], flags: list[str], said: str):
    assert main(["--gpu", "l4", *flags]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_model_that_is_too_large_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"num_layers": 64}))
    assert main(["--gpu", "l4", "--model", str(config)]) == 1
    assert "The L4 has 21.5 GiB free, too few" in capsys.readouterr().err
    assert main(["--gpu", "l4", "--quantization", "int8", "--kv-cache-dtype", "int8", "--model", str(config)]) == 0


@pytest.mark.parametrize(("row", "quantization"), [("bfloat16", "none"), ("8-bit weights, keys and values", "int8")])
def test_the_readme_agrees_with_the_plan(row: str, quantization: str):
    config = duplex_config(None, None)
    planned = [
        make_plan(gpu, config, quantization, "int8" if quantization == "int8" else "auto").capacity.callers
        for gpu in GPUS.values()
    ]
    table = dict(line.strip("| ").split(" | ", 1) for line in README.read_text().splitlines() if line.startswith("| "))
    assert table["callers"].split(" | ") == [gpu.name for gpu in GPUS.values()]
    assert table[row].split(" | ") == [str(callers) for callers in planned]
