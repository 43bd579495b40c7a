"""Which sessions hold a slot and which wait for one: a count on one event loop, so it cannot race.

Free slots go to the queue, first come, first served. When none is free, the session that has been parked for longest
loses its slot. No slot is promised twice, and each is given back once. Owner: the event loop. Knows no sockets, no
model and no reason to refuse anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from server.calls.waiting_queue import WaitingQueue
from server.clock import Clock
from server.engine.bridge import CloseSession, OpenSession
from server.errors import ConnectionLost
from server.metrics import Count
from server.sessions.session import Session, SessionState


class Admission:
    """Every session there is, from the queue to its end."""

    def __init__(
        self, clock: Clock, submit: Callable[[OpenSession | CloseSession], None], on_left: Callable[[Session], None]
    ) -> None:
        """`submit` takes commands to the engine, which applies them in order; `on_left` is told of each end once."""
        self.slots = 0  # how many sessions the model takes at once: known when it is ready
        self._clock = clock
        self._submit = submit
        self._on_left = on_left
        self._free = 0
        self._queue = WaitingQueue()
        self._sessions: set[Session] = set()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def running(self) -> int:
        """Slots whose client is connected."""
        return self.slots - self._free - self.parked

    @property
    def parked(self) -> int:
        """Slots whose client may come back."""
        return len(self._parked())

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """True: a new session would have to wait."""
        return self._free + self.parked <= len(self._queue)

    def queued(self) -> list[Session]:
        """The sessions that wait, in their order."""
        return list(self._queue)

    def holders(self) -> set[Session]:
        """The sessions that have a slot, or are promised one."""
        return {session for session in self._sessions if session not in self._queue}

    def open(self, slots: int) -> None:
        """The model is ready."""
        self.slots = self._free = slots

    def enter(self, session: Session) -> None:
        """Put a new session at the end of the queue, and give it a slot at once if there is one."""
        self._sessions.add(session)
        self._queue.append(session)
        self.fill()

    def leave(self, session: Session) -> None:
        """Give back the slot or the place in the queue of a session that is over; once."""
        self._give_back(session)
        self.fill()

    def fill(self) -> None:
        """Promise free slots, and those of the longest parked, to the first in the queue; tell the others."""
        while self._queue and (self._free or self._evict()):
            self._free -= 1
            self._submit(OpenSession(self._queue.pop_first()))
        self.send_positions()

    def send_positions(self) -> None:
        """Tell waiting clients whose position or estimate has changed."""
        if self._queue:
            now = self._clock.now()
            ready_at = [session.ready_at for session in self.holders()]
            self._queue.send_positions(0.0 if at is None else now - at for at in ready_at)

    def check_integrity(self) -> None:
        """Assert what must hold at any time."""
        holders = self.holders()
        assert self.slots - self._free == len(holders), f"{self._free} of {self.slots} slots free, {len(holders)} held"
        assert all(session in self._sessions for session in self._queue), "an unknown session is in the queue"
        assert not (self._queue and self._free), "a session waits while a slot is free"
        states = {session.state for session in self._sessions}
        assert SessionState.CLOSED not in states, "a closed session holds a slot"

    def _parked(self) -> list[Session]:
        return [session for session in self._sessions if session.state is SessionState.PARKED]

    def _evict(self) -> bool:
        """End the session that has been parked for longest, and free its slot. False: none is parked."""
        session = min(self._parked(), key=lambda session: session.parked_at, default=None)
        if session is None:
            return False
        why = session.not_resumed("Another client needed the slot.")
        session.counts[Count.CALLS_EVICTED] += isinstance(why, ConnectionLost)
        session.end(why)
        self._give_back(session)
        return True

    def _give_back(self, session: Session) -> None:
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        if session in self._queue:
            self._queue.remove(session)
            session.close()
        else:
            self._free += 1  # commands are applied in order: the next session's OpenSession comes after this
            self._submit(CloseSession(session))
        if session.ready_at is not None:
            self._queue.note_length(self._clock.now() - session.ready_at)
        self._on_left(session)
