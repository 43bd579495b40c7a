"""How many requests one address may send: over time, and at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.clock import Clock
from server.errors import TooManyRequests

REQUESTS_PER_S = 200.0
BURST = 1000.0  # the page is about 70 files, and many people may share an address
AT_ONCE = 64
_MAX_ADDRESSES = 4096  # the longest unseen is forgotten, which gives it a new burst


@dataclass(slots=True)
class _Usage:
    left: float
    counted_at: float
    open: int = 0


class RequestLimiter:
    """A token bucket for each address, that of this machine too. Owner: the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._usage: OrderedDict[str, _Usage] = OrderedDict()

    @contextmanager
    def acquire(self, address: str, cost: int) -> Iterator[None]:
        """Count a request until the block is left. Raises TooManyRequests."""
        now = self._clock.now()
        usage = self._usage.setdefault(address, _Usage(BURST, now))
        self._usage.move_to_end(address)
        if len(self._usage) > _MAX_ADDRESSES:
            self._usage.popitem(last=False)
        usage.left = min(BURST, usage.left + (now - usage.counted_at) * REQUESTS_PER_S)
        usage.counted_at = now
        if usage.left < cost or usage.open >= AT_ONCE:
            raise TooManyRequests("Too many requests from your address. Try again in a moment.")
        usage.left -= cost
        usage.open += 1
        try:
            yield
        finally:
            usage.open -= 1
