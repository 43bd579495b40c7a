"""A run over time: its figures in equal stretches, for the CSV file and the report's plots. Pure arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.load.figures import Floats, call_figures, due_at, late_share, lateness_ms, model_lag
from server.load.record import CallRecord

MOST_POINTS = 900  # of a curve: a quarter of an hour by seconds; longer runs by longer stretches


def over_time(calls: Sequence[CallRecord], begun_at: float, ended_at: float) -> list[dict[str, Any]]:
    """One row for each stretch; frames count where they were sent, gaps and underruns where they were heard."""
    length_s = ended_at - begun_at
    stretch_s = max(1, math.ceil(length_s / MOST_POINTS))
    stretches = max(1, math.ceil(length_s / stretch_s))

    def by_stretch(at: list[Floats], values: list[Floats]) -> Iterator[Floats]:
        """The values of each stretch."""
        numbers = _stretch(np.concatenate([np.empty(0), *at]), begun_at, stretch_s)
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(stretches + 1))
        ordered = np.concatenate([np.empty(0), *values])[order]
        return (ordered[a:b] for a, b in itertools.pairwise(bounds))

    def counts(at: list[Floats]) -> list[int]:
        return [len(values) for values in by_stretch(at, at)]

    lag = model_lag(calls)
    each = [call_figures(call, lag) for call in calls]
    turnaround = by_stretch([c.sent_at for c in each], [c.turnaround_ms for c in each])
    own = by_stretch([due_at(call) for call in calls], [lateness_ms(call) for call in calls])
    gaps, underruns = counts([c.gap_at for c in each]), counts([c.underrun_at for c in each])
    failed = counts([np.array([call.over_at]) for call in calls if call.failure and call.over_at])
    return [
        {
            "at_s": number * stretch_s,
            "in_call": _in_call(calls, begun_at + (number + 0.5) * stretch_s),
            "frames_sent": len(values),
            **_turnaround(values),
            "late_share": late_share(values),
            "packet_gaps": gaps[number],
            "underruns": underruns[number],
            "failed": failed[number],
            "own_lateness_p99_ms": _percentile(late, 99),
        }
        for number, (values, late) in enumerate(zip(turnaround, own, strict=True))
    ]


def _turnaround(values_ms: Floats) -> dict[str, float | None]:
    answered = values_ms[~np.isnan(values_ms)]
    return {f"turnaround_{name}_ms": _percentile(answered, q) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}


def _percentile(values: Floats, q: float) -> float | None:
    return round(float(np.percentile(values, q)), 2) if len(values) else None


def _stretch(at: Floats, begun_at: float, stretch_s: float) -> NDArray[np.int64]:
    return np.floor((at - begun_at) / stretch_s).astype(np.int64)


def _in_call(calls: Sequence[CallRecord], at: float) -> int:
    return sum(
        call.greeted_after_s is not None
        and call.dialled_at is not None
        and call.dialled_at + call.greeted_after_s <= at < (call.over_at or math.inf)
        for call in calls
    )
