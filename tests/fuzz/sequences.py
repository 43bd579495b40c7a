"""A fuzz target for everything between the socket and the model: each byte of the input is one action.

Callers connect, wait, send, read or do not read, lose their connections, resume with any token that was ever sent, and
produce NaN, on a fake clock. The engine, the slots, the queue and the tokens are the real ones.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from server.audio.framing import FRAME_S
from server.calls.service import Service
from server.engine.bridge import Command
from server.engine.engine import Engine
from server.errors import CannotResume, ClientClosed, ConnectionLost, ServerFull, TooManyCalls
from server.events import Ready
from server.metrics import Count
from server.sessions.params import SessionParams
from server.sessions.session import BREAK_SHARE, Session, SessionState
from server.settings import Settings
from tests.fakes import FakeBridge, FakeClock, FakeConnection, TalkingRunner
from tests.server.chat_client import speech

_SLOTS, _WAITING, _RESUME_S, _CALLS_EACH = 2, 2, 5.0, 3
_SETTINGS = Settings(
    model="echo",
    slots=_SLOTS,
    max_waiting=_WAITING,
    resume_s=_RESUME_S,
    quiet_s=12.0,
    max_calls_per_caller=_CALLS_EACH,
)
_CLIENTS = ("203.0.113.7", None)  # by their keys; None: not counted
_FRAME = speech(1)[0]
_MAX_ACTIONS = 256  # in one input


class Action(IntEnum):
    """The lowest three bits of a byte. The other five are its argument."""

    CALL = 0  # argument: bit 0 asks for events, bit 4 is which client, the rest is max_steps
    SEND = 1  # a frame; argument: which connection
    HANG_UP = 2  # argument: which connection; bit 4: it is lost, not closed
    RESUME = 3  # argument: which token
    WAIT = 4  # argument: how long
    TICK = 5
    READ = 6  # argument: which connection
    BREAK = 7  # argument: which slot starts or stops to produce NaN; ended connections are released


class SubmittingBridge(FakeBridge):
    """A fake bridge that also takes the commands of a service."""

    def submit(self, command: Command) -> None:
        self.queued.append(command)

    def notify(self) -> None: ...


@dataclass
class ValidTokens:
    """The tokens with which a session can be resumed, by the rules of `resume_tokens.py`."""

    newest: str = ""
    opened_by: str = ""  # valid until the client sends audio over the connection that it opened


class CallSimulation:
    """A service and an engine without threads, and their callers."""

    def __init__(self) -> None:
        self.clock, self.bridge = FakeClock(), SubmittingBridge()
        self.runner = TalkingRunner(_SLOTS)
        self.service = Service(_SETTINGS, lambda: self.runner, self.clock)
        self.service._bridge = self.bridge  # type: ignore[assignment]
        self.engine = self.service._engine = Engine(lambda: self.runner, self.bridge, self.clock)  # type: ignore[arg-type]
        self.engine.set_up(self.runner)
        self.connections: list[FakeConnection] = []
        self.tokens: list[tuple[str, Session]] = [("invalid", Session(SessionParams(), self.clock))]
        self.valid_tokens: dict[Session, ValidTokens] = {}
        self.tick()

    def run(self, byte: int) -> None:
        """Run the action of one byte, which takes a millisecond."""
        self.clock.advance(0.001)
        action, argument = Action(byte & 7), byte >> 3
        match action:
            case Action.CALL:
                self.call(bool(argument & 1), max_steps=(argument & 15) >> 1, client_key=_CLIENTS[argument >> 4])
            case Action.RESUME:
                self.resume(*self.tokens[argument % len(self.tokens)])
            case Action.WAIT:
                self.clock.advance(0.02 * argument * argument)
                for session in self.service.calls.admission:
                    self.service.calls.check(session, self.clock.now())
                self.check_breaks()
            case Action.TICK:
                self.tick()
            case Action.BREAK:
                self.runner.broken ^= {argument % (4 * _SLOTS)} & {*range(_SLOTS)}
                for connection in [made for made in self.connections if made.outbox.ended]:
                    self.connections.remove(connection)
                    connection.release()
            case _ if self.connections:
                self.act(self.connections[argument % len(self.connections)], action, argument)
            case _:
                pass

    def act(self, connection: FakeConnection, action: Action, argument: int) -> None:
        """Run an action of one of the callers."""
        match action:
            case Action.SEND if not connection.outbox.ended and connection.session.ready_at is not None:
                connection.session.push_frame(_FRAME)
            case Action.HANG_UP:
                self.connections.remove(connection)
                connection.hang_up(ConnectionLost("Gone.") if argument & 16 else ClientClosed("Closed."))
            case Action.READ:
                self.read(connection)
            case _:
                pass

    def call(self, wants_events: bool, max_steps: int, client_key: str | None) -> None:
        """Start a call, which may be refused only by a full server, or to a client that has enough."""
        admission = self.service.calls.admission
        had = self.calls_of(client_key)
        was_full, waited = admission.is_full, admission.waiting
        try:
            params = SessionParams(max_steps=max_steps or None)
            self.connect(self.service.calls.admit(params, wants_events, client_key))
        except TooManyCalls:
            assert client_key and had == _CALLS_EACH, "a client was refused that has fewer calls than it may"
        except ServerFull:
            assert was_full and (not wants_events or waited == _WAITING), "a call was refused though there was room"

    def resume(self, token: str, owner: Session) -> None:
        """Resume with `token`, which was issued for `owner`."""
        valid = self.valid_tokens.get(owner, ValidTokens())
        has_sent = owner.last_audio_at is not None and owner.last_audio_at > owner.resumed_at
        is_valid = token == valid.newest or (token == valid.opened_by and not has_sent)
        can_resume = is_valid and owner.ended is None
        try:
            session = self.connect(self.service.calls.resume(token))
        except CannotResume:
            assert not can_resume, "a valid token was refused"
            return
        assert can_resume and session is owner, "an invalid token was accepted, or opened another session"
        self.valid_tokens[owner] = ValidTokens(newest=self.unsent_token(session), opened_by=token)

    def unsent_token(self, session: Session) -> str:
        """The token in the ready event that waits in the outbox."""
        ready = session.outbox._events[Ready]
        assert isinstance(ready, Ready) and ready.resume_token
        return ready.resume_token

    def connect(self, admission: AbstractContextManager[Session]) -> Session:
        """The session of a new connection. Raises Refused."""
        connection = FakeConnection(admission)
        self.connections.append(connection)
        return connection.session

    def read(self, connection: FakeConnection) -> None:
        """Receive one item, and note the token in it."""
        if connection.outbox.is_empty:
            return
        item = _result(connection.outbox.next())
        if not isinstance(item, Ready):
            return
        if connection.session.ready_at is None:
            connection.session.ready_at = self.clock.now()
        if item.resume_token:
            self.tokens.append((item.resume_token, connection.session))
            self.valid_tokens.setdefault(connection.session, ValidTokens(newest=item.resume_token))

    def tick(self) -> None:
        """Run a tick of the engine, and deliver its notices."""
        self.engine.tick()
        posts, self.bridge.posts = self.bridge.posts, []
        for notices in posts:
            self.service._on_notices(notices)

    def calls_of(self, client_key: str | None) -> int:
        """How many sessions a client has."""
        callers = self.service.calls._callers._callers
        return sum(callers[session].client_key == client_key for session in self.service.calls.admission)

    def check_breaks(self) -> None:
        """Assert that no session was parked for longer than it may be in all."""
        for session in self.service.calls.admission:
            if session.state is SessionState.PARKED:
                in_all_s = session._broken_s + self.clock.now() - session.parked_at
                assert in_all_s <= _RESUME_S + BREAK_SHARE * FRAME_S * session.counts[Count.FRAMES] + 1e-6

    def check(self) -> None:
        """Assert that every slot is free or has exactly one session, and that no client has too many."""
        assert self.calls_of(_CLIENTS[0]) <= _CALLS_EACH
        assert len(self.service.calls._callers._callers) == len(self.service.calls.admission)
        self.service.calls.admission.check_integrity()
        self.engine.check_integrity()

    def end(self) -> None:
        """Close all connections and assert that nothing is left of them."""
        for connection in self.connections:
            connection.hang_up(ClientClosed("Closed."))
        self.connections.clear()
        self.run(Action.WAIT | 31 << 3)
        for _ in range(3):
            self.tick()
        service = self.service
        assert not len(service.calls.admission) and service.running == service.parked == service.waiting == 0
        assert not self.engine._slots.holders() and not self.bridge.queued
        assert not service.calls._tokens._holders and not service.calls._tokens._newest
        assert service.status == "ready"


def _result(coroutine: Any) -> Any:
    """The result of a coroutine that must not wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the coroutine waits")


def sequence(data: bytes) -> None:
    """After any actions in any order, no slot is lost and no token opens another session."""
    simulation = CallSimulation()
    for byte in data[:_MAX_ACTIONS]:
        simulation.run(byte)
        simulation.check()
    simulation.end()
