from __future__ import annotations

from typing import Any

import pytest

from server.load.limits import what_ended

FIGURES = {"own_lateness_ms": {"p99": 1.0}, "turnaround_ms": {"p99": 100.0}, "failures": {}, "failed": 0}
SERVER = {
    "slots": 8,
    "cpu_share": 0.3,
    "gpu_memory_share": None,
    "step_ms": {"p50": 20.0, "p99": 25.0},
    "loop_lag_ms": {"p50": 0.5, "p99": 2.0},
}
FULL = {"failures": {"HTTP 503: All lines are busy.": 3}, "failed": 3}


@pytest.mark.parametrize(
    ("figures", "server", "said"),
    [
        ({}, {"step_ms": {"p50": 75.0, "p99": 90.0}, "cpu_share": 0.98}, "that a frame lasts"),
        ({}, {"step_ms": {"p50": 75.0, "p99": 90.0}, "gpu_memory_share": 0.5}, "that a frame lasts"),
        (
            {},
            {"step_ms": {"p50": 75.0, "p99": 90.0}},
            "lasts, but its process takes 30% of a core only: something else",
        ),
        ({}, {"step_ms": {"p50": 30.0, "p99": 90.0}}, "the model, now and then"),
        ({}, {"loop_lag_ms": {"p50": 9.0, "p99": 60.0}, "cpu_share": 0.99}, "event loop, which is 60 ms late"),
        ({}, {"loop_lag_ms": {"p50": 9.0, "p99": 60.0}}, "something else runs on its machine"),
        ({}, {"cpu_share": 0.95}, "the server's processor"),
        ({}, {}, "nothing that the server counts"),
        ({"failures": {"the connection broke": 2}, "failed": 2}, {}, "failed calls: the connection broke"),
        (FULL, {}, "its slots: callers were refused (HTTP 503: All lines are busy.); at 8 calls a step took 20 of 80"),
        (FULL, {"gpu_memory_share": 0.97}, "97% of its GPU's memory"),
        ({"own_lateness_ms": {"p99": 30.0}}, {"step_ms": {"p50": 75.0, "p99": 90.0}}, "this machine, which calls"),
        # 30 of 4,000 ms are not what made it late.
        (
            {"own_lateness_ms": {"p99": 30.0}, "turnaround_ms": {"p99": 4e3}},
            {"cpu_share": 0.95},
            "the server's processor",
        ),
    ],
)
def test_what_ended_it(figures: dict[str, Any], server: dict[str, Any], said: str) -> None:
    sentence = what_ended({**FIGURES, **figures}, {**SERVER, **server})
    assert said in sentence
    if said.endswith("lasts"):
        assert sentence.endswith(said) and "half of its steps take 75 ms" in sentence


def test_a_server_that_says_nothing_of_itself() -> None:
    assert "no /metrics" in what_ended(FIGURES, None)
    assert what_ended({**FIGURES, **FULL}, None) == "its slots: callers were refused (HTTP 503: All lines are busy.)"
