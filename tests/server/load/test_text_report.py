from __future__ import annotations

from typing import Any

import numpy as np

from server.audio.framing import FRAME_S
from server.load.figures import summary
from server.load.text_report import text_report
from tests.server.load.records import record

SETTINGS = {"url": "ws://here/api/chat", "form": "ogg", "seconds": "2", "search": None, "client_core_share": 0.31}


def run(**more: Any) -> dict[str, Any]:
    figures = summary([record(100 + np.arange(25) * FRAME_S)])
    step = {**figures, "passed": None, "server": None}
    return {**figures, **SETTINGS, "steps": [step], **more}


def test_text_report_of_a_simple_run() -> None:
    assert text_report(run()).splitlines() == [
        "calls           1 of 2 s, ogg, to ws://here/api/chat",
        "admitted        1 of 1",
        "failed          0",
        "handshake after p50 500.0 · p95 500.0 · p99 500.0 · max 500.0 ms",
        "frames          25 sent, 25 received, 0 missing",
        "turnaround      p50 20.0 · p95 20.0 · p99 20.0 · max 20.0 ms",
        "late            0% over 80 ms or missing",
        "gaps            0 longer than 160 ms",
        "underruns       0 with a buffer of 100 ms",
        "text            0 pieces",
        "client lateness p50 1.0 · p95 1.0 · p99 1.0 · max 1.0 ms, 31% of a core",
    ]


def test_server_figures_are_shown_for_a_single_load_step() -> None:
    server = {"step_ms": {"p50": 7.0, "p99": 9.0}, "loop_lag_ms": {"p50": None, "p99": None}, "cpu_share": 0.42}
    said = text_report(run(steps=[{**run(), "passed": None, "server": server}]))
    assert "server          step p50 7.0 · p99 9.0 ms; event loop lag -; 42% of a core" in said
    said = text_report(run(steps=[{**run(), "passed": None, "server": server | {"rows_per_used": 1.5}}]))
    assert "step p50 7.0 · p99 9.0 ms on 1.50 rows per row used; event loop" in said


def test_load_steps_and_the_verdict_of_a_search() -> None:
    steps = [{**run(), "callers": n, "passed": n < 2, "server": None} for n in (1, 2)]
    found = {"target": "p99 ≤ 80 ms", "callers": 1, "failed_at": 2, "bottleneck": "its slots"}
    said = text_report(run(steps=steps, search=found))
    assert "      1    20.0    20.0    20.0    0%" in said
    assert said.endswith("The server sustains 1 caller at p99 ≤ 80 ms.\nBottleneck at 2 callers: its slots.")
    assert text_report(run(search={**found, "bottleneck": None})).endswith("\nMore were not tried.")
    nothing = {**found, "callers": 0}
    assert "does not sustain 1 caller at" in text_report(run(search={**nothing, "failed_at": 1}))
    assert (
        "does not sustain 2 callers at p99 ≤ 80 ms. Fewer were not tried.\nBottleneck at 2 callers: its slots."
        in text_report(run(search=nothing))
    )
    assert text_report(run(search={**nothing, "failed_at": None, "bottleneck": None})).endswith(
        "no load step was completed."
    )


def test_a_busy_load_tester_and_injected_faults_are_reported() -> None:
    late = run(client_lateness_ms={"p50": 1.0, "p95": 9.0, "p99": 11.0, "max": 50.0}, with_faults=summary([]))
    assert "too busy to keep the pace" in text_report(late)
    assert "with faults     0 calls, 0 connections dropped, 0 conversations resumed, 0 failed, - late" in text_report(
        late
    )
