"""Whose each session is: how many calls a client has, parked and waiting ones included, and how fast it may send.

Both go with the client and not with its connections. A session that is resumed is counted once, and a client that ends
one call and begins another goes on with the rate limiter that it left behind. Owner: the event loop.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from server.clock import Clock
from server.errors import TooManyCalls
from server.sessions.session import Session
from server.settings import Settings
from server.transport.rate_limit import BURST_S, RateLimiter


@dataclass(frozen=True, slots=True)
class _Caller:
    client_key: str | None  # None: not counted, and its rate limiters end with their sessions
    rate_limiter: RateLimiter


class Callers:
    """The clients of all sessions."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._max_calls = settings.max_calls_per_caller
        self._bytes_per_s = settings.max_bytes_per_s
        self._clock = clock
        self._callers: dict[Session, _Caller] = {}
        self._unused: defaultdict[str, list[RateLimiter]] = defaultdict(list)  # by client, those of ended calls
        self._swept_at = clock.now()

    def check(self, client_key: str | None) -> None:
        """Raises TooManyCalls where this client may not have another call."""
        if client_key is None:
            return
        if sum(caller.client_key == client_key for caller in self._callers.values()) >= self._max_calls:
            raise TooManyCalls(f"You already have {self._max_calls} calls. End one, then call again.")

    def enter(self, session: Session, client_key: str | None) -> None:
        """A new session of this client."""
        unused = self._unused.get(client_key) if client_key else None
        limiter = unused.pop() if unused else RateLimiter(self._bytes_per_s, self._clock)
        self._callers[session] = _Caller(client_key, limiter)

    def rate_limiter(self, session: Session) -> RateLimiter:
        """The one of its connections, one after the other."""
        return self._callers[session].rate_limiter

    def leave(self, session: Session) -> None:
        """The session is over."""
        caller = self._callers.pop(session)
        if caller.client_key is not None:
            self._unused[caller.client_key].append(caller.rate_limiter)
        if self._clock.now() - self._swept_at > BURST_S:
            self._sweep()

    def _sweep(self) -> None:
        """Forget rate limiters that are full again, as new ones are."""
        self._swept_at = self._clock.now()
        for client_key, unused in list(self._unused.items()):
            unused[:] = [limiter for limiter in unused if not limiter.is_full]
            if not unused:
                del self._unused[client_key]
