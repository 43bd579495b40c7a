"""The cost of the server's metrics, in CPU time, so that other load on the machine matters little."""

from __future__ import annotations

import time
from collections.abc import Callable

from server.audio.framing import FRAME_S
from server.calls.service import Service
from server.engine.echo_runner import EchoRunner
from server.http.prometheus import PrometheusExporter
from server.metrics import Metrics
from server.settings import Settings
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

CALLERS = 64
TIMES = 100_000
SCRAPES = 100
MAX_SHARE = 0.01  # of a core


def measure(bench: Workbench) -> BenchPart:
    bench.say("metrics")
    service = Service(Settings(model="echo"), lambda: EchoRunner(CALLERS))
    frame_s = _seconds_per_call(TIMES, lambda: _add_frame(service.metrics))
    step_s = _seconds_per_call(TIMES, lambda: service.metrics.add_step(CALLERS, CALLERS, 0.012))
    for callers in (1, 2, 4, 8, 16, 32):
        service.metrics.add_step(callers, callers, 0.012)
    exporter = PrometheusExporter(service)
    scrape_s = _seconds_per_call(SCRAPES, lambda: exporter.render(""))
    share = (CALLERS * frame_s + step_s) / FRAME_S
    return BenchPart(
        title=f"Metrics, for {CALLERS} callers",
        rows=[
            BenchRow("a frame", f"{1e6 * frame_s:.1f} µs"),
            BenchRow("a step", f"{1e6 * step_s:.1f} µs"),
            BenchRow("total", f"{share:.2%} of a core", target=f"under {MAX_SHARE:.0%}", met=share < MAX_SHARE),
            BenchRow("a scrape of /metrics", f"{1e3 * scrape_s:.1f} ms"),
        ],
        figures={"frame_s": frame_s, "step_s": step_s, "share": share, "scrape_s": scrape_s},
    )


def _add_frame(metrics: Metrics) -> None:
    metrics.add_frame(wait_s=0.001, send_s=0.002, server_s=0.003, turnaround_s=0.015)


def _seconds_per_call(times: int, do: Callable[[], object]) -> float:
    started_at = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - started_at) / times
