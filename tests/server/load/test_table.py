from __future__ import annotations

from typing import Any

import numpy as np

from server.audio.framing import FRAME_S
from server.load.figures import summary
from server.load.table import table
from tests.server.load.records import record

SETTINGS = {"url": "ws://here/api/chat", "form": "ogg", "seconds": "2", "found": None, "own_core_share": 0.31}


def run(**more: Any) -> dict[str, Any]:
    figures = summary([record(100 + np.arange(25) * FRAME_S)])
    step = {**figures, "held": None, "server": None}
    return {**figures, **SETTINGS, "steps": [step], **more}


def test_a_simple_run_is_told_as_it_always_was() -> None:
    assert table(run()).splitlines() == [
        "calls          1 of 2 s, ogg, to ws://here/api/chat",
        "admitted       1 of 1",
        "failed         0",
        "greeted after  p50 500.0 · p95 500.0 · p99 500.0 · max 500.0 ms",
        "frames         25 sent, 25 received, 0 missing",
        "turnaround     p50 20.0 · p95 20.0 · p99 20.0 · max 20.0 ms",
        "over 80 ms     0.00%",
        "gaps           0 over 160 ms",
        "underruns      0 with 100 ms of buffer",
        "text           0 pieces",
        "own lateness   p50 1.0 · p95 1.0 · p99 1.0 · max 1.0 ms, 31% of a core",
    ]


def test_what_the_server_tells_of_a_single_step() -> None:
    server = {"step_ms": {"p50": 7.0, "p99": 9.0}, "loop_lag_ms": {"p50": None, "p99": None}, "cpu_share": 0.42}
    said = table(run(steps=[{**run(), "held": None, "server": server}]))
    assert "the server     step p50 7.0 · p99 9.0 ms; event loop late -; 42% of a core" in said
    said = table(run(steps=[{**run(), "held": None, "server": server | {"rows_per_used": 1.5}}]))
    assert "step p50 7.0 · p99 9.0 ms on 1.50 rows for each that was used; event loop" in said


def test_steps_and_what_was_found() -> None:
    steps = [{**run(), "callers": n, "held": n < 2, "server": None} for n in (1, 2)]
    found = {"bar": "p99 ≤ 80 ms", "callers": 1, "failed_at": 2, "ended_by": "its slots"}
    said = table(run(steps=steps, found=found))
    assert "      1  20.0  20.0  20.0  0.00%" in said
    assert said.endswith("The server holds 1 caller at p99 ≤ 80 ms.\nAt 2 it is ended by its slots.")
    assert table(run(found={**found, "ended_by": None})).endswith("\nMore were not tried.")
    nothing = {**found, "callers": 0}
    assert "holds not one caller" in table(run(found={**nothing, "failed_at": 1}))
    assert "does not hold 2 callers at p99 ≤ 80 ms. Fewer were not tried.\nAt 2 it" in table(run(found=nothing))
    assert table(run(found={**nothing, "failed_at": None, "ended_by": None})).endswith("no step came to its end.")


def test_a_busy_tester_and_faults_are_told() -> None:
    late = run(own_lateness_ms={"p50": 1.0, "p95": 9.0, "p99": 11.0, "max": 50.0}, with_faults=summary([]))
    assert "too busy to keep the pace" in table(late)
    assert "with faults    0 calls, 0 lines cut, 0 conversations resumed, 0 failed, - late" in table(late)
