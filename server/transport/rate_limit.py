"""A limit on what one client may send, so that no client takes the event loop's time from others."""

from __future__ import annotations

from server.clock import Clock
from server.errors import RateLimited

BURST_S = 16.0  # what a stalled network held back may arrive at once
MESSAGE_BYTES = 128  # charged for each message or packet besides its own bytes


class RateLimiter:
    """A token bucket of bytes: `BURST_S` seconds of `bytes_per_s`, refilled at that rate."""

    def __init__(self, bytes_per_s: float, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._left_bytes = bytes_per_s * BURST_S
        self._refilled_at = clock.now()

    def spend(self, items: int, size_bytes: int) -> None:
        """Charge `items` messages or packets that have `size_bytes` in total. Raises RateLimited."""
        now = self._clock.now()
        refilled = self._left_bytes + (now - self._refilled_at) * self._bytes_per_s
        self._left_bytes = min(refilled, self._bytes_per_s * BURST_S) - size_bytes - items * MESSAGE_BYTES
        self._refilled_at = now
        if self._left_bytes < 0:
            raise RateLimited
