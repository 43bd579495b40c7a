"""How many calls at once one caller has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import TooManyCalls


class CallLimiter:
    """Counts calls by caller, those in line included. Owner: the event loop."""

    def __init__(self, max_each: int) -> None:
        self._max_each = max_each
        self._calls: Counter[str] = Counter()

    @contextmanager
    def call(self, caller: str | None, resumes: bool) -> Iterator[None]:
        """Counted until the block is left. Raises TooManyCalls."""
        if caller is None:
            yield
            return
        # The connection that broke may not have been noticed yet, so who resumes may have twice as many.
        if self._calls[caller] >= self._max_each * (2 if resumes else 1):
            raise TooManyCalls(f"There are {self._max_each} calls from you already. End one, then call again.")
        self._calls[caller] += 1
        try:
            yield
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                del self._calls[caller]
