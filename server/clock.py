"""Where the server reads the time, so that tests can set it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic time."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class WallClock:
    """The process's own."""

    def now(self) -> float:
        return time.perf_counter()
