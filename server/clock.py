"""The server's source of time, which tests replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic time."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class WallClock:
    """The process's monotonic clock."""

    def now(self) -> float:
        return time.perf_counter()
