"""HTTP requests one at a time, with time for the event loop's other work between two of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

PAUSE_S = 0.001  # between two requests, each of which takes less than half of that; calls have the rest


class Turns:
    """A queue of work that takes one item at a time, and then pauses, so that no crowd delays a call for long."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._next_at = loop.time()

    def ask(self, work: Callable[[], None]) -> None:
        """Run `work` in a later round of the loop, after what was asked before."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._loop.call_at(self._next_at, self._take)

    def _take(self) -> None:
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            self._next_at = self._loop.time() + PAUSE_S
            if self._waiting:
                self._loop.call_at(self._next_at, self._take)
