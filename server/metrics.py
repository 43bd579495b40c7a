"""What the server counts and times: plain numbers in memory, bounded, each kept once.

`/api/info`, `/metrics` and the line at a call's end all read what is here. Owner: the event loop. Knows nothing
of who counts, and no format (`exposition.py` has the names).
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

import numpy as np

_WINDOW = 4096  # samples: five minutes of one call, five seconds of sixty-four
_LAG_EVERY_S = 0.1

# Fine around the 80 ms that everything has to fit into.
FRAME_BOUNDS_S = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    *(0.1, 0.12, 0.16, 0.24, 0.4, 0.8, 1.6),
)
CALL_BOUNDS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class RollingWindow:
    """The last few thousand samples of one duration."""

    def __init__(self) -> None:
        self._samples_s = array("d")  # a ring, once it is full
        self._added = 0

    def add(self, seconds: float) -> None:
        if self._added < _WINDOW:
            self._samples_s.append(seconds)
        else:
            self._samples_s[self._added % _WINDOW] = seconds
        self._added += 1

    def percentiles_ms(self) -> dict[str, float]:
        """p50, p95 and p99 in ms, as `np.percentile` interpolates them; empty when there is no sample yet."""
        if not self._samples_s:
            return {}
        values_ms = 1e3 * np.percentile(self._samples_s, (50, 95, 99))
        return dict(zip(("p50", "p95", "p99"), values_ms.round(3).tolist(), strict=True))


class Histogram:
    """All samples of one duration, as how many fell below each bound."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)  # the last one: above every bound
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds


class Metrics:
    """Counters and durations of one process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # by the code of `errors.py`
        self.ended: Counter[str] = Counter()  # the same
        # Per frame, from its offer to the socket: before the step, after it, all but the model, everything.
        self.frames = {name: Histogram(FRAME_BOUNDS_S) for name in ("wait", "send", "server", "turnaround")}
        self.windows = {name: RollingWindow() for name in ("step", *self.frames)}
        self.steps: dict[int, Histogram] = {}  # by how many frames were in them, rounded up to a power of two
        self.calls, self.lines = Histogram(CALL_BOUNDS_S), Histogram(CALL_BOUNDS_S)
        self.loop_lag = Histogram(FRAME_BOUNDS_S)

    def add_counts(self, counts: Mapping[str, int]) -> None:
        self.counts.update(counts)

    def add_call(self, code: str, seconds: float) -> None:
        """A call that had begun is over."""
        self.ended[code] += 1
        self.calls.add(seconds)

    def add_step(self, callers: int, rows: int, seconds: float) -> None:
        """One step over `rows` of the batch, with a frame of each of so many callers."""
        self.counts["rows_computed"] += rows
        self.counts["rows_used"] += callers
        self.windows["step"].add(seconds)
        up_to = 1 << (callers - 1).bit_length()
        if up_to not in self.steps:
            self.steps[up_to] = Histogram(FRAME_BOUNDS_S)
        self.steps[up_to].add(seconds)

    def add_frame(self, *, wait_s: float, send_s: float, server_s: float, turnaround_s: float) -> None:
        for name, seconds in (("wait", wait_s), ("send", send_s), ("server", server_s), ("turnaround", turnaround_s)):
            self.frames[name].add(seconds)
            self.windows[name].add(seconds)

    def timings_ms(self) -> dict[str, dict[str, float]]:
        return {name: window.percentiles_ms() for name, window in self.windows.items()}

    async def watch_loop(self) -> None:
        """Ten times a second, see how late the event loop comes to what is due; for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.loop_lag.add(max(0.0, loop.time() - due_at))
