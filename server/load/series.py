"""The figures of a run in equal intervals of time, for the CSV file and the report's plots. Pure arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.load.call_record import CallRecord
from server.load.figures import Floats, call_figures, due_at, late_share, lateness_ms, model_lag, percentiles

MAX_INTERVALS = 900  # points of a curve: seconds for a quarter of an hour, longer intervals for longer runs


def over_time(calls: Sequence[CallRecord], started_at: float, ended_at: float) -> list[dict[str, Any]]:
    """One row for each interval. Frames count where they were sent, gaps and underruns where they were noticed."""
    length_s = ended_at - started_at
    interval_s = max(1, math.ceil(length_s / MAX_INTERVALS))
    intervals = max(1, math.ceil(length_s / interval_s))

    def by_interval(at: list[Floats], values: list[Floats]) -> Iterator[Floats]:
        """The values of each interval."""
        numbers = _interval(np.concatenate([np.empty(0), *at]), started_at, interval_s)
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(intervals + 1))
        ordered = np.concatenate([np.empty(0), *values])[order]
        return (ordered[a:b] for a, b in itertools.pairwise(bounds))

    def counts(at: list[Floats]) -> list[int]:
        return [len(values) for values in by_interval(at, at)]

    lag = model_lag(calls)
    each = [call_figures(call, lag) for call in calls]
    turnaround = by_interval([c.sent_at for c in each], [c.turnaround_ms for c in each])
    lateness = by_interval([due_at(call) for call in calls], [lateness_ms(call) for call in calls])
    gaps, underruns = counts([c.gap_at for c in each]), counts([c.underrun_at for c in each])
    failed = counts([np.array([call.ended_at]) for call in calls if call.failure and call.ended_at])
    return [
        {
            "at_s": number * interval_s,
            "in_call": _in_call(calls, started_at + (number + 0.5) * interval_s),
            "frames_sent": len(values),
            **_turnaround(values),
            "late_share": late_share(values),
            "packet_gaps": gaps[number],
            "underruns": underruns[number],
            "failed": failed[number],
            "client_lateness_p99_ms": percentiles(late)["p99"],
        }
        for number, (values, late) in enumerate(zip(turnaround, lateness, strict=True))
    ]


def _turnaround(values_ms: Floats) -> dict[str, float | None]:
    answered = percentiles(values_ms[~np.isnan(values_ms)])
    return {f"turnaround_{name}_ms": answered[name] for name in ("p50", "p99", "max")}


def _interval(at: Floats, started_at: float, interval_s: float) -> NDArray[np.int64]:
    return np.floor((at - started_at) / interval_s).astype(np.int64)


def _in_call(calls: Sequence[CallRecord], at: float) -> int:
    return sum(
        call.handshake_after_s is not None
        and call.started_at is not None
        and call.started_at + call.handshake_after_s <= at < (call.ended_at or math.inf)
        for call in calls
    )
