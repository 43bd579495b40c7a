"""An engine that runs in the test's own thread, one tick at a time, on a fake clock, bridge and runner."""

from __future__ import annotations

from server.engine.bridge import OpenSession
from server.engine.engine import Engine
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeBridge, FakeClock, TalkingRunner
from tests.server.chat_client import speech


class EngineHarness:
    """An engine whose ticks the test calls; a step takes `step_s` of the fake clock."""

    def __init__(self, slots: int = 4, step_s: float = 0.01) -> None:
        self.clock = FakeClock()
        self.bridge = FakeBridge()
        self.runner = TalkingRunner(slots, before_step=lambda: self.clock.advance(step_s))
        self.engine = Engine(lambda: self.runner, self.bridge, self.clock)  # type: ignore[arg-type]
        self.engine.set_up(self.runner)

    def open(self, **params: object) -> Session:
        """A new session that has a slot, after one tick."""
        session = Session(SessionParams(**params), self.clock)  # type: ignore[arg-type]
        self.open_session(session)
        return session

    def open_session(self, session: Session) -> None:
        """Give `session` a slot, in one tick."""
        self.bridge.queued.append(OpenSession(session))
        self.engine.tick()

    def offer_frames(self, session: Session, count: int = 1) -> None:
        """Put `count` frames of speech into the inbox of `session`."""
        for frame in speech(count):
            session.inbox.offer(frame, self.clock.now())
