"""What is written about a run, from synthetic records."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from server.audio.framing import FRAME_S
from server.load.argument_types import ServiceTarget
from server.load.load_run import LoadStep
from server.load.results import InvalidResults, _search_result, read_json, write_csv
from server.load.series import MAX_INTERVALS, over_time
from tests.server.load.records import record


def test_over_time_counts_every_frame_in_the_second_it_was_sent() -> None:
    calls = [record(100 + 0.01 * k + np.arange(50) * FRAME_S, turnaround_s=0.02) for k in range(4)]
    slow = record(102 + np.arange(25) * FRAME_S, turnaround_s=0.2)
    rows = over_time([*calls, slow], 100, 104.4)
    assert [row["at_s"] for row in rows] == [0, 1, 2, 3, 4]
    assert sum(row["frames_sent"] for row in rows) == 4 * 50 + 25
    assert [row["in_call"] for row in rows] == [4, 4, 5, 5, 0]
    assert [row["late_share"] for row in rows[:2]] == [0, 0]
    assert rows[2]["late_share"] == pytest.approx(0.2, abs=0.02)
    assert rows[2]["turnaround_max_ms"] == pytest.approx(200)
    assert rows[0]["turnaround_p99_ms"] == pytest.approx(20)


def test_over_time_of_a_long_run_has_longer_intervals() -> None:
    rows = over_time([record([100.0, 10_000.0])], 100, 10_100)
    assert len(rows) <= MAX_INTERVALS
    assert sum(row["frames_sent"] for row in rows) == 2


def test_an_interrupted_load_step_does_not_end_a_search() -> None:
    steps = [LoadStep(callers, 100.0, passed=held) for callers, held in ((1, True), (2, True), (4, None))]
    assert _search_result(steps, ServiceTarget()) == {
        "target": str(ServiceTarget()),
        "callers": 2,
        "failed_at": None,
        "bottleneck": None,
    }


def test_csv_has_a_line_for_each_second() -> None:
    file = io.StringIO()
    write_csv(file, {"over_time": over_time([record(100 + np.arange(25) * FRAME_S)], 100, 102)})
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [int(row["at_s"]) for row in rows] == [0, 1]
    assert int(rows[0]["frames_sent"]) == 13


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"url": "x"})])
def test_invalid_results_name_the_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(InvalidResults, match=r"old\.json"):
        read_json(path)
    with pytest.raises(InvalidResults):
        read_json(tmp_path / "nowhere")
