"""What the server counts and times. Plain numbers, kept in memory, bounded.

Owner: the event loop. Knows nothing of who counts.
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Mapping

_WINDOW = 4096  # samples: a minute of five callers, five seconds of sixty-four


class Window:
    """The last few thousand samples of one duration."""

    def __init__(self) -> None:
        self._samples_s: deque[float] = deque(maxlen=_WINDOW)

    def add(self, seconds: float) -> None:
        self._samples_s.append(seconds)

    def median_s(self) -> float | None:
        return statistics.median(self._samples_s) if self._samples_s else None

    def percentiles_ms(self) -> dict[str, float]:
        """p50, p95 and p99 in ms; empty when there is no sample yet."""
        ordered = sorted(self._samples_s)
        if not ordered:
            return {}
        last = len(ordered) - 1
        return {f"p{p}": round(1e3 * ordered[round(last * p / 100)], 3) for p in (50, 95, 99)}


class Metrics:
    """Counters and durations of one process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.call_s = Window()
        # Per frame, from its offer to the socket: before the step, the step, all but the model, everything.
        self.timings = {"wait": Window(), "step": Window(), "server": Window(), "turnaround": Window()}

    def add_counts(self, counts: Mapping[str, int]) -> None:
        self.counts.update(counts)

    def add_frame(self, *, wait_s: float, step_s: float, server_s: float, turnaround_s: float) -> None:
        self.timings["wait"].add(wait_s)
        self.timings["step"].add(step_s)
        self.timings["server"].add(server_s)
        self.timings["turnaround"].add(turnaround_s)

    def timings_ms(self) -> dict[str, dict[str, float]]:
        return {name: window.percentiles_ms() for name, window in self.timings.items()}
