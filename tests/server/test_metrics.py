from __future__ import annotations

import asyncio
import time

import pytest

from server.metrics import FRAME_BOUNDS_S, Count, Histogram, Metrics, RollingWindow


def test_percentiles_of_a_rolling_window():
    window = RollingWindow()
    assert window.percentiles_ms() == {}
    for ms in range(101):
        window.add(ms / 1000)
    assert window.percentiles_ms() == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_rolling_window_drops_its_oldest_values():
    window = RollingWindow()
    for _ in range(100_000):
        window.add(1.0)
    for _ in range(4096):
        window.add(0.0)
    assert window.percentiles_ms()["p99"] == 0.0


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.0005, 0), (0.0006, 1), (0.08, FRAME_BOUNDS_S.index(0.08)), (9.0, -1)]
)
def test_histogram_bucket_includes_its_upper_bound(seconds: float, bucket: int):
    histogram = Histogram(FRAME_BOUNDS_S)
    histogram.add(seconds)
    assert histogram.counts[bucket] == sum(histogram.counts) == 1
    assert histogram.sum_s == seconds


def test_steps_are_counted_by_the_number_of_callers():
    metrics = Metrics()
    for callers in (1, 2, 3, 4, 5, 64, 1000):
        metrics.add_step(callers, 2 * callers, 0.01)
    counted = {up_to: sum(histogram.counts) for up_to, histogram in metrics.steps.items()}
    assert counted == {1: 1, 2: 1, 4: 2, 8: 1, 64: 1, 1024: 1}
    assert metrics.counts[Count.ROWS_COMPUTED] == 2 * metrics.counts[Count.ROWS_USED] == 2 * 1079


def test_counts_of_calls_are_added():
    metrics = Metrics()
    metrics.add_counts({Count.FRAMES: 3, Count.CALLS_STARTED: 1})
    metrics.add_counts({Count.FRAMES: 4, Count.CALLS_STARTED: 1})
    assert metrics.counts == {Count.FRAMES: 7, Count.CALLS_STARTED: 2}


async def test_blocked_event_loop_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.metrics._LAG_INTERVAL_S", 0.01)
    metrics = Metrics()
    watch = asyncio.create_task(metrics.measure_loop_lag())
    await asyncio.sleep(0.03)
    time.sleep(0.1)  # noqa: ASYNC251, blocking the event loop is what the test needs
    await asyncio.sleep(0.03)
    watch.cancel()
    assert metrics.loop_lag.sum_s > 0.08
