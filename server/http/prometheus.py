"""`/metrics`: what the server counts and times, under Prometheus's names.

Counts nothing itself: at each scrape it reads what `metrics.py` and `service.py` hold, so that this page and
`/api/info` can't differ. Owner: the event loop.
"""

from __future__ import annotations

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
    "wait": ("parley_frame_wait_seconds", "From a frame's arrival to the step that takes it."),
    "send": ("parley_frame_send_seconds", "From the end of a step to the socket: the hop, Opus, the send."),
    "server": ("parley_server_seconds", "Turnaround less what the model took of it."),
    "turnaround": ("parley_turnaround_seconds", "From a frame's arrival to its reply in the socket."),
}


class PrometheusExporter(Collector):
    """One server's registry, rendered."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type: OpenMetrics for those who accept it, else Prometheus's text."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def collect(self) -> Iterable[Metric]:
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator[Metric]:
        service = self._service
        about = GaugeMetricFamily("parley_info", "Which server and model this is.", labels=["version", "model"])
        about.add_metric([server.__version__, service.card.name], 1)
        yield about
        yield GaugeMetricFamily("parley_ready", "1 while calls are taken.", service.status == "ready")
        yield GaugeMetricFamily("parley_slots", "Calls at once; 0 until the model is ready.", service.slots)
        yield GaugeMetricFamily("parley_calls_running", "Calls that hold a slot and are talked in.", service.running)
        yield GaugeMetricFamily("parley_calls_parked", "Calls that hold a slot for a lost caller.", service.parked)
        yield GaugeMetricFamily("parley_calls_waiting", "Callers in line for a slot.", service.waiting)

        memory = service.device_memory()
        if memory:
            yield GaugeMetricFamily("parley_gpu_memory_used_bytes", "Of the GPU, by the server.", memory.used_bytes)
            yield GaugeMetricFamily("parley_gpu_memory_total_bytes", "What the GPU has.", memory.total_bytes)

    def _counters(self) -> Iterator[Metric]:
        counts, metrics = self._service.counts, self._service.metrics
        for count in Count:
            yield CounterMetricFamily(f"parley_{count}", count.help, counts[count])
        ended = dict.fromkeys(_codes(CallEnded), 0)
        refused = dict.fromkeys([*_codes(Forbidden), *_codes(Refused), BadParameter.code, CannotResume.code], 0)
        yield _by_reason("parley_calls_ended", "Calls that ended, by why.", ended | metrics.ended)
        yield _by_reason("parley_calls_refused", "Callers turned away, by why.", refused | metrics.refused)

    def _histograms(self) -> Iterator[Metric]:
        metrics = self._service.metrics
        step = HistogramMetricFamily(
            "parley_step_seconds", "Steps, by how many callers were in them, rounded up.", labels=["callers"]
        )
        for callers, histogram in sorted(metrics.steps.items()):
            step.add_metric([str(callers)], *_buckets(histogram))
        yield step
        for key, (name, meaning) in FRAME_HISTOGRAMS.items():
            yield _histogram(name, meaning, metrics.frames[key])
        yield _histogram(
            "parley_queue_wait_seconds", "Time in the queue, of those who got a slot.", metrics.queue_waits
        )
        yield _histogram("parley_call_seconds", "Length of calls, from the greeting.", metrics.calls)
        yield _histogram("parley_loop_lag_seconds", "How late the event loop is, ten times a second.", metrics.loop_lag)


def _codes(kind: type[ParleyError]) -> Iterator[str]:
    """Every reason of a kind. Told as 0 too: of a series that begins at 1, Prometheus sees no increase."""
    for error in kind.__subclasses__():
        if "code" in vars(error):
            yield error.code
        yield from _codes(error)


def _by_reason(name: str, meaning: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=["reason"])
    for reason, count in sorted(counts.items()):
        family.add_metric([reason], count)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    buckets, sum_s = _buckets(histogram)
    return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=sum_s)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Its bounds with how many samples were up to each of them, and the sum, as the library wants them."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds_s), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum_s
