"""A fuzz target for everything between the socket and the model: each byte is something that happens to a call.

Callers come, wait, speak, read or do not, vanish, come back with any token that anyone ever got, and break, on a clock
that goes on when it is told to. The engine, the slots, the line and the tokens are the real ones.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from server.calls.service import Service
from server.engine.bridge import Command
from server.engine.engine import Engine
from server.errors import CannotResume, ClientClosed, ConnectionLost, ServerFull
from server.events import Ready
from server.sessions.outbox import Outbox
from server.sessions.params import SessionParams
from server.sessions.session import Session
from server.settings import Settings
from tests.fakes import FakeBridge, FakeClock, TalkingRunner
from tests.server.chat_client import speech

_SLOTS, _WAITING, _RESUME_S = 2, 2, 5.0
_SETTINGS = Settings(model="echo", slots=_SLOTS, max_waiting=_WAITING, resume_s=_RESUME_S, quiet_s=12.0)
_FRAME = speech(1)[0]
_MOST = 256  # things that happen in one input


class _Bridge(FakeBridge):
    def submit(self, command: Command) -> None:
        self.queued.append(command)

    def notify(self) -> None: ...


@dataclass
class Connected:
    """One socket's time with a session, without the socket."""

    door: AbstractContextManager[Session]
    session: Session
    outbox: Outbox


@dataclass
class Claims:
    """What a session can be taken up again with, by the rules of `resuming.py`."""

    newest: str = ""
    opened_by: str = ""  # good until the caller is heard over the line that it opened
    told: list[str] = field(default_factory=list)


class World:
    """A server's inside and its callers."""

    def __init__(self) -> None:
        self.clock, self.bridge = FakeClock(), _Bridge()
        self.runner = TalkingRunner(_SLOTS)
        self.house = Service(_SETTINGS, lambda: self.runner, self.clock)
        self.house._bridge = self.bridge  # type: ignore[assignment]
        self.engine = self.house._engine = Engine(lambda: self.runner, self.bridge, self.clock)  # type: ignore[arg-type]
        self.engine.set_up(self.runner)
        self.lines: list[Connected] = []
        self.tokens: list[tuple[str, Session]] = [("nobody's", Session(SessionParams(), self.clock))]
        self.claims: dict[Session, Claims] = {}
        self.turn()

    def happen(self, what: int, arg: int) -> None:
        """One thing, which takes a millisecond."""
        self.clock.advance(0.001)
        match what:
            case 0:
                self.come(wants_events=bool(arg & 1), max_steps=arg >> 1)
            case 3:
                self.come_back(*self.tokens[arg % len(self.tokens)])
            case 4:
                self.clock.advance(0.02 * arg * arg)
                for session in self.house.calls.admission:
                    self.house.calls.look_after(session, self.clock.now())
            case 5:
                self.turn()
            case 7:
                self.runner.broken ^= {arg % (4 * _SLOTS)} & {*range(_SLOTS)}
                for line in [line for line in self.lines if line.outbox.ended]:
                    self.let_go(line)
            case _ if self.lines:
                self.act(self.lines[arg % len(self.lines)], what, arg)

    def act(self, line: Connected, what: int, arg: int) -> None:
        """What one of the callers does."""
        match what:
            case 1 if not line.outbox.ended and line.session.greeted_at is not None:
                line.session.push_frame(_FRAME)
            case 2:
                line.session.hang_up(line.outbox, ConnectionLost("Gone.") if arg & 16 else ClientClosed("Goodbye."))
                self.let_go(line)
            case 6:
                self.read(line)

    def come(self, wants_events: bool, max_steps: int) -> None:
        """A new call, with a limit or without."""
        admission = self.house.calls.admission
        was_full, waited = admission.is_full, admission.waiting
        try:
            self.enter(self.house.calls.admit(SessionParams(max_steps=max_steps or None), wants_events))
        except ServerFull:
            assert was_full and (not wants_events or waited == _WAITING), "turned away, and there was a place"

    def come_back(self, token: str, owner: Session) -> None:
        """With a token, whoever got it."""
        claims = self.claims.get(owner, Claims())
        was_heard = owner.heard_at is not None and owner.heard_at > owner.resumed_at
        is_good = token == claims.newest or (token == claims.opened_by and not was_heard)
        may = is_good and owner.ended is None
        try:
            session = self.enter(self.house.calls.resume(token))
        except CannotResume:
            assert not may, "a good token was turned away"
            return
        assert may and session is owner, "a token opened what it is not good for"
        self.claims[owner] = Claims(newest=self.newest(session), opened_by=token)

    def newest(self, session: Session) -> str:
        """The token that waits in its outbox, to be told."""
        ready = session.outbox._events[Ready]
        assert isinstance(ready, Ready) and ready.resume_token
        return ready.resume_token

    def enter(self, door: AbstractContextManager[Session]) -> Session:
        session = door.__enter__()
        self.lines.append(Connected(door, session, session.outbox))
        return session

    def let_go(self, line: Connected) -> None:
        """The socket's handler has come to its end."""
        self.lines.remove(line)
        line.door.__exit__(None, None, None)

    def read(self, line: Connected) -> None:
        """Take one thing off the wire."""
        if line.outbox.is_empty:
            return
        item = _now(line.outbox.next())
        if not isinstance(item, Ready):
            return
        if line.session.greeted_at is None:
            line.session.greeted_at = self.clock.now()
        if item.resume_token:
            self.tokens.append((item.resume_token, line.session))
            self.claims.setdefault(line.session, Claims(newest=item.resume_token))

    def turn(self) -> None:
        """A turn of the engine, and what it tells."""
        self.engine.tick()
        posts, self.bridge.posts = self.bridge.posts, []
        for notices in posts:
            self.house._on_notices(notices)

    def check(self) -> None:
        """Nothing is lost or held twice."""
        self.house.calls.admission.check_integrity()
        self.engine.check_integrity()

    def end(self) -> None:
        """All hang up, and nothing is left of them."""
        for line in [*self.lines]:
            line.session.hang_up(line.outbox, ClientClosed("Goodbye."))
            self.let_go(line)
        self.happen(4, 31)
        for _ in range(3):
            self.turn()
        house = self.house
        assert not len(house.calls.admission) and house.running == house.parked == house.waiting == 0
        assert not self.engine._slots.seated() and not self.bridge.queued
        assert not house.calls._tokens._holders and not house.calls._tokens._newest
        assert house.status == "ready"


def _now(coroutine: Any) -> Any:
    """Its result, which it does not wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def lives(data: bytes) -> None:
    """Whatever happens to calls and in whatever order, no slot is lost, and no token opens what is another's."""
    world = World()
    for byte in data[:_MOST]:
        world.happen(byte & 7, byte >> 3)
        world.check()
    world.end()
