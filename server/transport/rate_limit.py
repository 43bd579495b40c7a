"""How much one client may send: more than a voice needs costs the event loop time that belongs to others."""

from __future__ import annotations

from server.clock import Clock
from server.errors import RateLimited

BURST_S = 16.0  # what a stalled network held back may arrive at once
MESSAGE_BYTES = 128  # what a message or a packet costs besides its own bytes


class RateLimiter:
    """A token bucket of bytes, refilled at the allowed rate."""

    def __init__(self, bytes_per_s: float, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._left_bytes = bytes_per_s * BURST_S
        self._refilled_at = clock.now()

    def spend(self, items: int, size_bytes: int) -> None:
        """Account for `items` messages or packets of `size_bytes` together. Raises RateLimited."""
        now = self._clock.now()
        refilled = self._left_bytes + (now - self._refilled_at) * self._bytes_per_s
        self._left_bytes = min(refilled, self._bytes_per_s * BURST_S) - size_bytes - items * MESSAGE_BYTES
        self._refilled_at = now
        if self._left_bytes < 0:
            raise RateLimited
