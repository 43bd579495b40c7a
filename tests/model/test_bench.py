"""The command `parley bench`, without limits on the measured figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model.bench import STAGES, fill_, main, make_weights_
from model.checkpoints.build import meta_model
from model.checkpoints.families import config_at
from model.modes.duplex import DuplexInputs


def test_the_table_and_the_json_file_have_the_same_rows(
    babble_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows, plot = tmp_path / "rows.json", tmp_path / "steps.svg"
    flags = ["--callers", "2,1", "--fills", "0.5,1", "--steps", "2", "--device", "cpu"]
    int8 = ["--quantization", "int8", "--kv-cache-dtype", "int8"]
    assert main([str(babble_directory), *flags, *int8, "--json", str(rows)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(rows.read_text())
    context = config_at(babble_directory).temporal.context
    assert [(row["callers"], row["frames"]) for row in figures["rows"]] == [
        (callers, frames) for frames in (context // 2, context) for callers in (1, 2)
    ]
    for row in figures["rows"]:
        assert 0 < row["step_s"]["p50"] <= row["step_s"]["p99"] <= row["step_s"]["max"]
        assert set(row["stages_s"]) == set(STAGES)
        assert all(row["stages_s"].values())
        assert row["planned_s"] is None
    assert "weights int8, keys int8 on CPU" in printed
    assert len(printed.splitlines()) == 2 + len(figures["rows"])

    assert main(["--rows", str(rows), "--plot", str(plot)]) == 0
    assert capsys.readouterr().out == printed
    assert plot.read_text().count("frames") >= 2


@torch.inference_mode()
def test_the_measured_step_is_in_the_middle_of_a_call_without_nan(babble_directory: Path):
    """The state is that of a long call: the model speaks, and every number is finite."""
    duplex = meta_model(config_at(babble_directory), torch.float32)
    make_weights_(duplex, torch.device("cpu"))
    state = duplex.make_state(2)
    fill_(state, 30, duplex.mimi.config.downsample)
    frame = duplex.step(DuplexInputs(torch.randn(2, 1920)), state)
    assert frame.spoken.all()
    assert frame.finite.all()
    assert (state.temporal.length == 31).all()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["nowhere"], "There is no checkpoint directory"),
        (["--callers", "100000"], "lower --slots"),
        (["--rows", "nowhere.json"], "nowhere.json"),
    ],
)
def test_an_impossible_measurement_is_refused_in_one_line(
    flags: list[str], told: str, babble_directory: Path, capsys: pytest.CaptureFixture[str]
):
    shape = [] if flags == ["nowhere"] else [str(babble_directory)]
    assert main([*shape, *flags, "--device", "cpu"]) == 1
    complaint = capsys.readouterr().err
    assert told in complaint
    assert len(complaint.splitlines()) == 1
