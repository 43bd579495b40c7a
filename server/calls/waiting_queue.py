"""The queue for a slot: first come, first served, and each client is told its position and an estimate of the wait.

The estimate is that of a queue whose servers are the slots: each call that runs ends when calls of its age have ended
lately, each call ahead takes the median length, and slots are taken in the order in which they become free. Owner: the
event loop. Knows no sockets and no engine.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator

from server.events import Queued
from server.sessions.session import Session

_LENGTHS = 256  # number of past calls in the estimate


class WaitingQueue:
    """The sessions that wait for a slot."""

    def __init__(self) -> None:
        self._told: dict[Session, Queued | None] = {}  # what each was told last, in order of arrival; None: nothing yet
        self._lengths_s: deque[float] = deque(maxlen=_LENGTHS)

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, session: Session) -> bool:
        return session in self._told

    def __iter__(self) -> Iterator[Session]:
        return iter(self._told)

    def append(self, session: Session) -> None:
        self._told[session] = None

    def remove(self, session: Session) -> None:
        del self._told[session]

    def pop_first(self) -> Session:
        first = next(iter(self._told))
        del self._told[first]
        return first

    def note_length(self, call_s: float) -> None:
        """A call has ended, `call_s` after it was ready."""
        self._lengths_s.append(call_s)

    def send_positions(self, ages_s: Iterable[float]) -> None:
        """Tell clients whose position or estimate has changed; `ages_s`: of the calls that hold the slots."""
        if not self._told:
            return
        waits = waits_s(list(ages_s), sorted(self._lengths_s), len(self._told))
        for position, ((session, told), wait_s) in enumerate(zip(self._told.items(), waits, strict=True), start=1):
            event = Queued(position, _rounded(wait_s))
            if event != told:
                self._told[session] = event
                session.send_event(event)


def waits_s(ages_s: list[float], lengths_s: list[float], count: int) -> list[float | None]:
    """How long each of the first `count` in the queue waits, by the running calls' ages and past calls' sorted lengths.

    None where there is nothing to estimate from: no call has ended yet, or none holds a slot.
    """
    if not lengths_s or not ages_s:
        return [None] * count
    median_s = _median(lengths_s)
    free_in_s = [_remaining_s(age_s, lengths_s) for age_s in ages_s]
    heapq.heapify(free_in_s)
    waits: list[float | None] = []
    for _ in range(count):
        waits.append(free_in_s[0])
        heapq.heapreplace(free_in_s, free_in_s[0] + median_s)
    return waits


def _remaining_s(age_s: float, lengths_s: list[float]) -> float:
    """What is left of a call of that age, by the median; one longer than all past calls takes as long again."""
    longer = lengths_s[bisect_right(lengths_s, age_s) :]
    return _median(longer) - age_s if longer else age_s


def _median(ordered: list[float]) -> float:
    return ordered[len(ordered) // 2]


def _rounded(wait_s: float | None) -> int | None:
    """To whole seconds, and long waits to five, so that nobody is told of changes that do not matter."""
    return None if wait_s is None else round(wait_s) if wait_s < 10 else 5 * round(wait_s / 5)
