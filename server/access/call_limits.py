"""How many calls one client may have at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import TooManyCalls


class CallLimiter:
    """Counts calls by client, queued ones included. Owner: the event loop."""

    def __init__(self, max_per_client: int) -> None:
        self._max_per_client = max_per_client
        self._calls: Counter[str] = Counter()

    @contextmanager
    def acquire(self, client_key: str | None, resumes: bool) -> Iterator[None]:
        """Count a call until the block is left; None is not counted. Raises TooManyCalls."""
        if client_key is None:
            yield
            return
        # The lost connection may not have been noticed yet, so a client that resumes may have twice as many.
        if self._calls[client_key] >= self._max_per_client * (2 if resumes else 1):
            raise TooManyCalls(f"You already have {self._max_per_client} calls. End one, then call again.")
        self._calls[client_key] += 1
        try:
            yield
        finally:
            self._calls[client_key] -= 1
            if not self._calls[client_key]:
                del self._calls[client_key]
