"""The server's counters and durations: plain numbers in memory, bounded, each kept once.

`/api/info`, `/metrics` and the log line at the end of a call read them. Owner: the event loop. Knows no format.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import numpy as np

_WINDOW_SAMPLES = 4096  # five minutes of one call, five seconds of 64 calls
_LAG_INTERVAL_S = 0.1

# Fine up to 80 ms, the time of a frame.
FRAME_BOUNDS_S = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    *(0.1, 0.12, 0.16, 0.24, 0.4, 0.8, 1.6),
)
CALL_BOUNDS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class Count(StrEnum):
    """The counters, by their names in `/api/info` and in logs; `/metrics` puts `parley_` before them."""

    help: str

    def __new__(cls, name: str, help_text: str) -> Self:
        count = str.__new__(cls, name)
        count._value_ = name
        count.help = help_text
        return count

    SESSIONS_ENDED = "sessions_ended", "Sessions that ended, whether or not they ever got a slot."
    CALLS_STARTED = "calls_started", "Calls that got a slot and whose client was told so."
    CALLS_LOST = "calls_lost", "Connections lost whose call was kept, and those taken over."
    CALLS_RESUMED = "calls_resumed", "Calls that went on over a new connection."
    CALLS_EXPIRED = "calls_expired", "Parked calls that ended because their client did not come back in time."
    CALLS_EVICTED = "calls_evicted", "Parked calls that ended because another client needed the slot."
    CALLS_NON_FINITE = "calls_non_finite", "Calls that ended because the model produced NaN or infinity."
    QUEUE_LEFT = "queue_left", "Clients that left the queue without a slot, or were in it when the server stopped."
    FRAMES = "frames", "Frames of 80 ms that were stepped."
    FRAMES_SILENCE = "frames_silence", "Of these, silence in place of a microphone that sent nothing."
    FRAMES_LATE = "frames_late", "Frames dropped to stay live, after silence was stepped in their place."
    FRAMES_SKIPPED = (
        "frames_skipped",
        "Other frames dropped to stay live: the engine was behind, or the client too fast.",
    )
    FRAMES_UNSENT = "frames_unsent", "Replies dropped because their client did not read them."
    ROWS_COMPUTED = "rows_computed", "Rows of the batch that steps computed, used or not."
    ROWS_USED = "rows_used", "Of these, rows that held a frame."
    RECORDINGS_CUT = "recordings_cut", "Recordings that ended before their call: disk full, disk slow, or quota."
    RECORDINGS_REFUSED = "recordings_refused", "Recordings that did not begin: quota, or as many as there may be."
    PACKETS_CONCEALED = "packets_concealed", "Packets that could not be decoded, each of which was concealed."
    PAGES_LOST = "pages_lost", "Corrupt Ogg pages that were skipped."
    MESSAGES_INVALID = "messages_invalid", "Messages that could not be understood and were ignored."
    CONNECTIONS_REFUSED = "connections_refused", "Connections over the limit, closed before any request."
    RECEIVED_BYTES = "received_bytes", "Payload of the messages that clients sent."
    SENT_BYTES = "sent_bytes", "Payload of the messages that clients were sent."


class RollingWindow:
    """The last 4,096 samples of one duration, of which percentiles are computed."""

    def __init__(self) -> None:
        self._samples_s = array("d")  # a ring buffer, once it is full
        self._added = 0

    def add(self, seconds: float) -> None:
        if self._added < _WINDOW_SAMPLES:
            self._samples_s.append(seconds)
        else:
            self._samples_s[self._added % _WINDOW_SAMPLES] = seconds
        self._added += 1

    def percentiles_ms(self) -> dict[str, float]:
        """p50, p95 and p99 in ms, as `np.percentile` interpolates them; empty when there is no sample yet."""
        if not self._samples_s:
            return {}
        values_ms = 1e3 * np.percentile(self._samples_s, (50, 95, 99))
        return dict(zip(("p50", "p95", "p99"), values_ms.round(3).tolist(), strict=True))


class Histogram:
    """All samples of one duration, counted by bounds."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)  # each up to its bound; the last one: above all bounds
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds


class Metrics:
    """Counters and durations of one server."""

    def __init__(self) -> None:
        self.counts: Counter[Count] = Counter()
        self.refused: Counter[str] = Counter()  # by the error's code
        self.ended: Counter[str] = Counter()  # by the error's code
        # Of each frame: before its step, after it, all but the step, and from arrival to the socket.
        self.frames = {name: Histogram(FRAME_BOUNDS_S) for name in ("wait", "send", "server", "turnaround")}
        self.windows = {name: RollingWindow() for name in ("step", *self.frames)}
        self.steps: dict[int, Histogram] = {}  # by the callers in a step, rounded up to a power of two
        self.calls, self.queue_waits = Histogram(CALL_BOUNDS_S), Histogram(CALL_BOUNDS_S)
        self.loop_lag = Histogram(FRAME_BOUNDS_S)

    def add_counts(self, counts: Mapping[Count, int]) -> None:
        self.counts.update(counts)

    def add_call(self, code: str, seconds: float) -> None:
        """Count the end of a call that had been ready, by the error's code."""
        self.ended[code] += 1
        self.calls.add(seconds)

    def add_step(self, callers: int, rows: int, seconds: float) -> None:
        """Count one step that computed `rows` of the batch, `callers` of which held a frame."""
        self.counts[Count.ROWS_COMPUTED] += rows
        self.counts[Count.ROWS_USED] += callers
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

    async def measure_loop_lag(self) -> None:
        """Measure ten times a second, without end, how late the event loop wakes a task."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + _LAG_INTERVAL_S
            await asyncio.sleep(_LAG_INTERVAL_S)
            self.loop_lag.add(max(0.0, loop.time() - due_at))
