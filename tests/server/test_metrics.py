from __future__ import annotations

from server.metrics import Metrics, Window


def test_percentiles_of_a_window():
    window = Window()
    assert window.percentiles_ms() == {} and window.median_s() is None
    for ms in range(101):
        window.add(ms / 1000)
    assert window.percentiles_ms() == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert window.median_s() == 0.05


def test_a_window_forgets_what_is_old():
    window = Window()
    for _ in range(100_000):
        window.add(1.0)
    for _ in range(4096):
        window.add(0.0)
    assert window.percentiles_ms()["p99"] == 0.0


def test_counts_of_calls_add_up():
    metrics = Metrics()
    metrics.add_counts({"heard": 3, "calls": 1})
    metrics.add_counts({"heard": 4, "calls": 1})
    assert metrics.counts == {"heard": 7, "calls": 2}
