from __future__ import annotations

from typing import Any

import pytest

from server.load.diagnosis import bottleneck

FIGURES = {"client_lateness_ms": {"p99": 1.0}, "turnaround_ms": {"p99": 100.0}, "failures": {}, "failed": 0}
SERVER = {
    "slots": 8,
    "cpu_share": 0.3,
    "gpu_memory_share": None,
    "step_ms": {"p50": 20.0, "p99": 25.0},
    "loop_lag_ms": {"p50": 0.5, "p99": 2.0},
}
FULL = {"failures": {"HTTP 503: All slots are in use.": 3}, "failed": 3}


@pytest.mark.parametrize(
    ("figures", "server", "said"),
    [
        ({}, {"step_ms": {"p50": 75.0, "p99": 90.0}, "cpu_share": 0.98}, "and a frame lasts 80 ms"),
        ({}, {"step_ms": {"p50": 75.0, "p99": 90.0}, "gpu_memory_share": 0.5}, "and a frame lasts 80 ms"),
        (
            {},
            {"step_ms": {"p50": 75.0, "p99": 90.0}},
            "lasts 80 ms, but its process uses only 30% of a core",
        ),
        ({}, {"step_ms": {"p50": 30.0, "p99": 90.0}}, "occasional slow steps of the model"),
        ({}, {"loop_lag_ms": {"p50": 9.0, "p99": 60.0}, "cpu_share": 0.99}, "event loop, because it is 60 ms late"),
        ({}, {"loop_lag_ms": {"p50": 9.0, "p99": 60.0}}, "another process is competing for the CPU"),
        ({}, {"cpu_share": 0.95}, "the server's CPU"),
        ({}, {}, "not visible in the server's metrics"),
        ({"failures": {"connection lost": 2}, "failed": 2}, {}, "failed calls (connection lost)"),
        (
            FULL,
            {},
            "the server's slots, because callers were refused (HTTP 503: All slots are in use.); with 8 calls",
        ),
        (FULL, {"gpu_memory_share": 0.97}, "97% of the GPU's memory"),
        (
            {"client_lateness_ms": {"p99": 30.0}},
            {"step_ms": {"p50": 75.0, "p99": 90.0}},
            "the load tester, because its own packets",
        ),
        # 30 of 4,000 ms do not explain it.
        (
            {"client_lateness_ms": {"p99": 30.0}, "turnaround_ms": {"p99": 4e3}},
            {"cpu_share": 0.95},
            "the server's CPU",
        ),
    ],
)
def test_bottleneck_is_the_first_cause_that_explains_the_load_step(
    figures: dict[str, Any], server: dict[str, Any], said: str
) -> None:
    sentence = bottleneck({**FIGURES, **figures}, {**SERVER, **server})
    assert said in sentence
    if said.endswith("80 ms"):
        assert sentence.endswith(said) and "half of its steps take 75 ms" in sentence


def test_bottleneck_without_server_metrics() -> None:
    assert "no /metrics" in bottleneck(FIGURES, None)
    assert (
        bottleneck({**FIGURES, **FULL}, None)
        == "the server's slots, because callers were refused (HTTP 503: All slots are in use.)"
    )
