"""`/metrics`: the server's counters and durations in Prometheus's formats.

Counts nothing itself: each scrape reads what `metrics.py` and `service.py` hold, so that `/metrics` and `/api/info`
cannot differ. Owner: the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

import server
from server.calls.service import Service
from server.errors import BadParameter, CallEnded, CannotResume, Forbidden, ParleyError, Refused
from server.metrics import Count, Histogram

FRAME_HISTOGRAMS = {
    "wait": ("parley_frame_wait_seconds", "Time from a frame's arrival to the start of its step."),
    "send": (
        "parley_frame_send_seconds",
        "Time from the end of a step to the socket: event loop, Opus encoding, send.",
    ),
    "server": ("parley_server_seconds", "Turnaround without the model's step."),
    "turnaround": ("parley_turnaround_seconds", "Time from a frame's arrival to its reply in the socket."),
}
# What of an Accept header the library is shown: it fails on versions that it does not know, and sends them back.
_OFFERED = re.compile(
    r"\s*(application/openmetrics-text|text/plain)\s*"
    r"(;\s*(version=(0\.0\.1|0\.0\.4|1\.0\.0)|escaping=[a-z0-9-]{1,20}|q=[0-9.]{1,5}|charset=utf-8)\s*)*"
)


class PrometheusExporter(Collector):
    """Exports one service's metrics."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The response's body and media type: OpenMetrics if the Accept header allows it, else Prometheus's text."""
        encode, media_type = choose_encoder(",".join(filter(_OFFERED.fullmatch, accept.split(","))))
        return encode(self._registry), media_type

    def collect(self) -> Iterable[Metric]:
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator[Metric]:
        service = self._service
        about = GaugeMetricFamily(
            "parley_info", "Version of the server and name of the model.", labels=["version", "model"]
        )
        about.add_metric([server.__version__, service.card.name], 1)
        yield about
        yield GaugeMetricFamily("parley_ready", "1 while the server accepts calls.", service.status == "ready")
        yield GaugeMetricFamily("parley_slots", "Slots, so calls at once; 0 until the model is ready.", service.slots)
        yield GaugeMetricFamily(
            "parley_calls_running", "Calls that hold a slot and have a connection.", service.running
        )
        yield GaugeMetricFamily(
            "parley_calls_parked", "Calls that hold a slot for a client that lost its connection.", service.parked
        )
        yield GaugeMetricFamily("parley_calls_waiting", "Clients in the queue for a slot.", service.waiting)

        memory = service.device_memory()
        if memory:
            yield GaugeMetricFamily(
                "parley_gpu_memory_used_bytes", "GPU memory that the server uses.", memory.used_bytes
            )
            yield GaugeMetricFamily("parley_gpu_memory_total_bytes", "GPU memory in all.", memory.total_bytes)

    def _counters(self) -> Iterator[Metric]:
        counts, metrics = self._service.counts, self._service.metrics
        for count in Count:
            yield CounterMetricFamily(f"parley_{count}", count.help, counts[count])
        ended = dict.fromkeys(_codes(CallEnded), 0)
        refused = dict.fromkeys([*_codes(Forbidden), *_codes(Refused), BadParameter.code, CannotResume.code], 0)
        yield _by_reason("parley_calls_ended", "Calls that ended, by reason.", ended | metrics.ended)
        yield _by_reason("parley_calls_refused", "Calls that were refused, by reason.", refused | metrics.refused)

    def _histograms(self) -> Iterator[Metric]:
        metrics = self._service.metrics
        step = HistogramMetricFamily(
            "parley_step_seconds",
            "Duration of steps, by their callers, rounded up to a power of two.",
            labels=["callers"],
        )
        for callers, histogram in sorted(metrics.steps.items()):
            step.add_metric([str(callers)], *_buckets(histogram))
        yield step
        for key, (name, help_text) in FRAME_HISTOGRAMS.items():
            yield _histogram(name, help_text, metrics.frames[key])
        yield _histogram(
            "parley_queue_wait_seconds", "Time in the queue, of clients that got a slot.", metrics.queue_waits
        )
        yield _histogram("parley_call_seconds", "Length of calls, from when they were ready.", metrics.calls)
        yield _histogram(
            "parley_loop_lag_seconds", "Delay of the event loop, sampled ten times a second.", metrics.loop_lag
        )


def _codes(kind: type[ParleyError]) -> Iterator[str]:
    """The codes of all errors below `kind`; exported at 0 too: a series that begins at 1 shows no increase."""
    for error in kind.__subclasses__():
        if "code" in vars(error):
            yield error.code
        yield from _codes(error)


def _by_reason(name: str, help_text: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=["reason"])
    for reason, count in sorted(counts.items()):
        family.add_metric([reason], count)
    return family


def _histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    buckets, sum_s = _buckets(histogram)
    return HistogramMetricFamily(name, help_text, buckets=buckets, sum_value=sum_s)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """The library's arguments: each bound with the samples up to it, and the sum in seconds."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds_s), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum_s
