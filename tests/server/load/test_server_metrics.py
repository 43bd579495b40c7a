"""Figures from a server's `/metrics`: from ours, and from servers that have none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from server.load import server_metrics
from server.load.server_metrics import MetricsSampler, bucket_quantile_ms, parse, server_figures

PAGE = """\
# TYPE parley_slots gauge
parley_slots 8.0
# TYPE parley_calls_running gauge
parley_calls_running {running}
# TYPE parley_gpu_memory_used_bytes gauge
parley_gpu_memory_used_bytes 7e9
# TYPE parley_gpu_memory_total_bytes gauge
parley_gpu_memory_total_bytes 1e10
# TYPE parley_calls_refused_total counter
parley_calls_refused_total{{reason="full"}} {refused}
parley_calls_refused_total{{reason="starting"}} 1.0
# TYPE parley_rows_computed counter
parley_rows_computed_total {slow}0.0
# TYPE parley_rows_used counter
parley_rows_used_total {slow}
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total {cpu_s}
# TYPE parley_step_seconds histogram
parley_step_seconds_bucket{{callers="1",le="0.01"}} {fast}
parley_step_seconds_bucket{{callers="1",le="0.08"}} {fast}
parley_step_seconds_bucket{{callers="1",le="+Inf"}} {fast}
parley_step_seconds_bucket{{callers="8",le="0.01"}} 0.0
parley_step_seconds_bucket{{callers="8",le="0.08"}} {slow}
parley_step_seconds_bucket{{callers="8",le="+Inf"}} {slow}
"""


def test_server_figures_are_the_changes_between_two_samples() -> None:
    first = parse(PAGE.format(running=2, refused=3, cpu_s=10, fast=1000, slow=50), at=100)
    last = parse(PAGE.format(running=8, refused=5, cpu_s=11, fast=1000, slow=150), at=102)
    figures = server_figures([first, last])
    assert (figures["slots"], figures["running"], figures["refused"]) == (8, 8, 2)
    assert figures["cpu_share"] == 0.5
    assert figures["rows_per_used"] == 10
    assert figures["gpu_memory_share"] == 0.7
    # All steps since the first sample took 10 to 80 ms.
    assert figures["step_ms"] == {"p50": pytest.approx(45), "p99": pytest.approx(79.3)}
    assert figures["loop_lag_ms"] == {"p50": None, "p99": None}


def test_bucket_quantiles_are_within_a_bucket_of_the_true_ones() -> None:
    rng, registry = random.Random(1), CollectorRegistry()
    bounds = [k / 1_000 for k in range(5, 105, 5)]
    histogram = Histogram("parley_step_seconds", "x", registry=registry, buckets=bounds)
    for _ in range(20_000):
        histogram.observe(rng.uniform(0.02, 0.1))
    counts = parse(generate_latest(registry).decode(), 0).buckets["parley_step_seconds"]
    assert bucket_quantile_ms(counts, 0.5) == pytest.approx(60, abs=1)
    assert bucket_quantile_ms(counts, 0.99) == pytest.approx(99.2, abs=1)
    assert bucket_quantile_ms({0.1: 0, float("inf"): 9}, 0.5) == 100  # no more is known than that it was longer
    assert bucket_quantile_ms({}, 0.5) is None


@contextmanager
def serving(status: int, body: str, requests: list[str]) -> Iterator[str]:
    class MetricsHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"{self.path} {self.headers['Authorization']}")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), MetricsHandler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"ws://127.0.0.1:{server.server_port}/prefix/api/chat?seed=1"
    server.shutdown()
    server.server_close()


def test_sampler_scrapes_beside_the_call_with_the_token_and_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_metrics, "SCRAPE_INTERVAL_S", 0.01)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # calls use no proxy, so neither does the sampler
    requests: list[str] = []
    page = PAGE.format(running=1, refused=0, cpu_s=1, fast=1, slow=1)
    with serving(200, page, requests) as url:
        sampler = MetricsSampler(url, {"Authorization": "Bearer secret"})
        sampler.start()
        while len(requests) < 4:
            pass
        sampler.stop()
    figures = sampler.between(float("-inf"), float("inf"))
    assert figures is not None
    assert figures["slots"] == 8
    assert set(requests) == {"/prefix/metrics Bearer secret"}
    assert sampler.between(-9, -1) is None


def test_model_step_of_a_time_is_from_the_samples_around_it() -> None:
    sampler = MetricsSampler("ws://here/api/chat", {})
    pages = [PAGE.format(running=1, refused=0, cpu_s=1, fast=n, slow=m) for n, m in ((0, 0), (100, 0), (100, 100))]
    sampler._samples = [parse(page, at=100 + 2 * k) for k, page in enumerate(pages)]
    assert sampler.model_step_ms(100.5, 101.5) == pytest.approx(5)  # 0 to 10 ms
    assert sampler.model_step_ms(102, 103) == pytest.approx(45)
    assert sampler.model_step_ms(101, 103) == pytest.approx(10)  # one half each
    assert sampler.model_step_ms(99, 101) is None
    assert sampler.model_step_ms(103, 105) is None


@pytest.mark.parametrize(
    ("status", "body"), [(404, ""), (401, ""), (200, "<html>a page</html>"), (200, "x_bucket 1\n")]
)
def test_a_server_without_metrics_is_scraped_once(status: int, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_metrics, "SCRAPE_INTERVAL_S", 0.001)
    requests: list[str] = []
    with serving(status, body, requests) as url:
        sampler = MetricsSampler(url, {})
        sampler.start()
        sampler._thread.join(5)
        assert not sampler._thread.is_alive()
    assert len(requests) == 1
    assert sampler.between(float("-inf"), float("inf")) is None
