"""A limit on what one client may send, so that no client takes the event loop's time from others.

Bytes alone do not bound the work: 26 bytes of Opus may hold 120 ms of sound. Decoding a second of sound takes 2 ms as
clients encode it and at most 11 ms however it is encoded (measured over all modes, lengths and switches between modes),
so seconds of sound bound the decoder's time.
"""

from __future__ import annotations

from server.clock import Clock
from server.errors import RateLimited

BURST_S = 16.0  # what a stalled network held back may arrive at once
MESSAGE_BYTES = 128  # charged for each message or packet besides its own bytes
SOUND_S_PER_S = 1.5  # a microphone sends one, and a burst is 24 s of it


class RateLimiter:
    """A token bucket of bytes and one of sound: `BURST_S` seconds of their rates, refilled at these rates."""

    def __init__(self, bytes_per_s: float, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._left_bytes = bytes_per_s * BURST_S
        self._left_sound_s = SOUND_S_PER_S * BURST_S
        self._refilled_at = clock.now()

    def spend(self, items: int, size_bytes: int, sound_s: float = 0.0) -> None:
        """Charge `items` messages or packets that have `size_bytes` and `sound_s` in total. Raises RateLimited."""
        self._refill()
        self._left_bytes -= size_bytes + items * MESSAGE_BYTES
        self._left_sound_s -= sound_s
        if self._left_bytes < 0 or self._left_sound_s < 0:
            raise RateLimited

    @property
    def is_full(self) -> bool:
        """True: nothing that was spent is still missing."""
        self._refill()
        return self._left_bytes >= self._bytes_per_s * BURST_S and self._left_sound_s >= SOUND_S_PER_S * BURST_S

    def _refill(self) -> None:
        now = self._clock.now()
        passed_s, self._refilled_at = now - self._refilled_at, now
        self._left_bytes = min(self._left_bytes + passed_s * self._bytes_per_s, self._bytes_per_s * BURST_S)
        self._left_sound_s = min(self._left_sound_s + passed_s * SOUND_S_PER_S, SOUND_S_PER_S * BURST_S)
