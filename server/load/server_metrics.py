"""The server's own figures during a run: its `/metrics`, scraped from a thread every few seconds.

A server without them can be measured all the same. Knows the names of `server/http/prometheus.py`, HTTP and
Prometheus's text format.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from prometheus_client.parser import text_string_to_metric_families

SCRAPE_INTERVAL_S = 2.0
_SCRAPE_TIMEOUT_S = 2.0
_MAX_PAGE_BYTES = 1_000_000
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # calls use no proxy either
_HISTOGRAMS = {
    "step_ms": "parley_step_seconds",
    "wait_ms": "parley_frame_wait_seconds",
    "server_ms": "parley_server_seconds",
    "turnaround_ms": "parley_turnaround_seconds",
    "loop_lag_ms": "parley_loop_lag_seconds",
}


@dataclass
class MetricsSample:
    """One page of `/metrics`. Values that differ only in their labels are added up."""

    at: float
    values: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)  # [name][le]: how many took up to le seconds


def parse(text: str, at: float) -> MetricsSample:
    """Raises ValueError if `text` is not in Prometheus's format."""
    sample = MetricsSample(at)
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name.endswith("_bucket"):
                buckets = sample.buckets.setdefault(family.name, defaultdict(float))
                buckets[float(labels["le"])] += value
            else:
                sample.values[name] += value
    return sample


class MetricsSampler:
    """Scrapes from `start` to `stop`. `between` gives the server's figures of a time span."""

    def __init__(self, chat_url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(chat_url)
        scheme = "https" if parts.scheme == "wss" else "http"
        path = parts.path.removesuffix("/api/chat") + "/metrics"
        self._request = urllib.request.Request(urlunsplit((scheme, parts.netloc, path, "", "")), headers=dict(headers))
        self._samples: list[MetricsSample] = []
        self._stopped = Event()
        self._thread = Thread(target=self._scrape_until_stopped, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def between(self, from_at: float, to_at: float) -> dict[str, Any] | None:
        """The figures of that time; None if there are too few samples."""
        samples = [sample for sample in list(self._samples) if from_at - SCRAPE_INTERVAL_S <= sample.at <= to_at]
        return server_figures(samples) if len(samples) > 1 else None

    def model_step_ms(self, from_at: float, to_at: float) -> float | None:
        """The median of the model's steps, between the last sample before that time and the first after it, if any."""
        samples = list(self._samples)
        before = [sample for sample in samples if sample.at <= from_at]
        after = [sample for sample in samples if sample.at >= to_at]
        if not before or not after:
            return None
        return _percentiles_ms(before[-1], after[0], _HISTOGRAMS["step_ms"])["p50"]

    def _scrape_until_stopped(self) -> None:
        while self._scrape() and not self._stopped.wait(SCRAPE_INTERVAL_S):
            pass

    def _scrape(self) -> bool:
        """Returns whether to go on."""
        try:
            with _NO_PROXY.open(self._request, timeout=_SCRAPE_TIMEOUT_S) as answer:
                self._samples.append(parse(answer.read(_MAX_PAGE_BYTES).decode(), time.perf_counter()))
        except urllib.error.HTTPError:
            return bool(self._samples)  # there is no such page, or we may not read it
        except (ValueError, KeyError):
            return False
        except (OSError, http.client.HTTPException):
            return True
        return True


def server_figures(samples: Sequence[MetricsSample]) -> dict[str, Any]:
    """What changed from the first sample to the last, and the maxima in between."""
    first, last = samples[0], samples[-1]
    span_s = max(last.at - first.at, 1e-9)

    def increase(name: str) -> float:
        return last.values[name] - first.values[name]

    def maximum(name: str) -> float:
        return max(sample.values[name] for sample in samples)

    rows_used = increase("parley_rows_used_total")
    gpu_total = last.values["parley_gpu_memory_total_bytes"]
    return {
        "slots": int(last.values["parley_slots"]),
        "running": int(maximum("parley_calls_running")),
        "waiting": int(maximum("parley_calls_waiting")),
        "rows_per_used": round(increase("parley_rows_computed_total") / rows_used, 2) if rows_used else None,
        "frames_skipped": int(increase("parley_frames_skipped_total")),
        "refused": int(increase("parley_calls_refused_total")),
        "cpu_share": round(increase("process_cpu_seconds_total") / span_s, 3),
        "resident_bytes": int(maximum("process_resident_memory_bytes")),
        "gpu_memory_share": round(maximum("parley_gpu_memory_used_bytes") / gpu_total, 3) if gpu_total else None,
        **{key: _percentiles_ms(first, last, name) for key, name in _HISTOGRAMS.items()},
    }


def _percentiles_ms(first: MetricsSample, last: MetricsSample, name: str) -> dict[str, float | None]:
    before, after = first.buckets.get(name, {}), last.buckets.get(name, {})
    counts = {le: after[le] - before.get(le, 0) for le in sorted(after)}
    return {key: bucket_quantile_ms(counts, q) for key, q in (("p50", 0.5), ("p99", 0.99))}


def bucket_quantile_ms(counts: Mapping[float, float], q: float) -> float | None:
    """A quantile of cumulative buckets {le: count}, linear within its bucket, as PromQL's histogram_quantile."""
    total = max(counts.values(), default=0)
    if not total:
        return None
    lower_s, below = 0.0, 0.0
    for le, count in counts.items():
        if count >= q * total:
            if le == float("inf"):
                return round(1e3 * lower_s, 2)
            return round(1e3 * (lower_s + (le - lower_s) * (q * total - below) / max(count - below, 1e-9)), 2)
        lower_s, below = le, count
    return None
