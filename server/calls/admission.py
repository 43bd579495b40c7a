"""Who has a slot, who keeps one though their socket is lost, and who waits: a count on one loop, so it cannot race.

Free slots go to the line, first come, first served; when none is free, the slot of the call that has been parked for
longest does. No slot is promised twice, and each is given back once. Owner: the event loop. Knows no sockets, no model
and no reason to turn anyone away.
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
    """Every session there is, from the line to its end."""

    def __init__(
        self, clock: Clock, submit: Callable[[OpenSession | CloseSession], None], on_left: Callable[[Session], None]
    ) -> None:
        """`submit` takes commands to the engine, which applies them in order; `on_left` hears of each end once."""
        self.slots = 0  # how many calls the model takes at once: known when it is ready
        self._clock = clock
        self._submit = submit
        self._on_left = on_left
        self._free = 0
        self._line = WaitingQueue()
        self._sessions: set[Session] = set()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def running(self) -> int:
        """Slots whose caller is there."""
        return self.slots - self._free - self.parked

    @property
    def parked(self) -> int:
        """Slots whose caller may come back."""
        return len(self._parked())

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def is_full(self) -> bool:
        """True: who comes now has to wait."""
        return self._free + self.parked <= len(self._line)

    def in_line(self) -> list[Session]:
        return list(self._line)

    def seated(self) -> set[Session]:
        """Who has a slot, or is promised one."""
        return {session for session in self._sessions if session not in self._line}

    def open(self, slots: int) -> None:
        """The model is ready."""
        self.slots = self._free = slots

    def join(self, session: Session) -> None:
        """Take the last place in line, and go on to a slot at once if there is one."""
        self._sessions.add(session)
        self._line.join(session)
        self.fill()

    def leave(self, session: Session) -> None:
        """Give back the slot or the place in line of a call that is over; once."""
        self._give_back(session)
        self.fill()

    def fill(self) -> None:
        """Promise free slots, and those of the longest parked, to the first in line; tell the others their places."""
        while self._line and (self._free or self._evict()):
            self._free -= 1
            self._submit(OpenSession(self._line.pop_first()))
        self.tell_places()

    def tell_places(self) -> None:
        """Tell those in line whose place or wait has changed."""
        if self._line:
            now = self._clock.now()
            greeted = [session.greeted_at for session in self.seated()]
            self._line.tell_places(0.0 if at is None else now - at for at in greeted)

    def check_integrity(self) -> None:
        """Assert what must hold at any time."""
        seated = self.seated()
        assert self.slots - self._free == len(seated), f"{self._free} of {self.slots} slots free, {len(seated)} held"
        assert all(session in self._sessions for session in self._line), "one in line is no session"
        assert not (self._line and self._free), "somebody waits, and a slot is free"
        states = {session.state for session in self._sessions}
        assert SessionState.CLOSED not in states, "a session is closed and holds a slot"

    def _parked(self) -> list[Session]:
        return [session for session in self._sessions if session.state is SessionState.PARKED]

    def _evict(self) -> bool:
        """End the call that has been parked for longest, if there is one, and have its slot."""
        session = min(self._parked(), key=lambda session: session.parked_at, default=None)
        if session is None:
            return False
        session.counts[Count.CALLS_EVICTED] += 1
        session.end(ConnectionLost("Another caller took the slot."))
        self._give_back(session)
        return True

    def _give_back(self, session: Session) -> None:
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        if session in self._line:
            self._line.leave(session)
            session.close()
        else:
            self._free += 1  # commands are applied in their order: whoever is promised the slot comes after this
            self._submit(CloseSession(session))
        if session.greeted_at is not None:
            self._line.note_length(self._clock.now() - session.greeted_at)
        self._on_left(session)
