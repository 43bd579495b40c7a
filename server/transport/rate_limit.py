"""How much one call may send: nobody's voice needs more, and every message costs the event loop its time."""

from __future__ import annotations

from server.clock import Clock
from server.errors import RateLimited

BURST_S = 16.0  # what a network held back may come at once
MESSAGE_BYTES = 128  # what a message or a packet costs besides its own bytes


class RateLimiter:
    """A bucket of bytes that fills at the allowed rate."""

    def __init__(self, bytes_per_s: float, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._left_bytes = bytes_per_s * BURST_S
        self._filled_at = clock.now()

    def spend(self, items: int, size_bytes: int) -> None:
        """So many messages or packets came, of so many bytes together. Raises RateLimited."""
        now = self._clock.now()
        grown = self._left_bytes + (now - self._filled_at) * self._bytes_per_s
        self._left_bytes = min(grown, self._bytes_per_s * BURST_S) - size_bytes - items * MESSAGE_BYTES
        self._filled_at = now
        if self._left_bytes < 0:
            raise RateLimited
