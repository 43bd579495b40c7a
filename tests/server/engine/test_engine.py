"""The engine's turn, by hand: no thread, no loop, and as much time as a test likes."""

from __future__ import annotations

import numpy as np
import pytest

from server.audio.framing import FRAME_S
from server.engine.bridge import (
    CloseSession,
    EngineCrashed,
    EngineReady,
    OpenSession,
    OutputNonFinite,
    SessionClosed,
    SessionOpened,
    Stepped,
    StopEngine,
)
from server.engine.echo_runner import EchoRunner
from server.engine.engine import Engine
from server.sessions.pacing import SILENCE_AFTER_S
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeBridge, FakeClock, TalkingRunner
from tests.server.chat_client import TIMEOUT_S, speech


class Bench:
    """An engine that turns when told to."""

    def __init__(self, slots: int = 4, step_s: float = 0.01) -> None:
        self.clock = FakeClock()
        self.bridge = FakeBridge()
        self.runner = TalkingRunner(slots, before_step=lambda: self.clock.advance(step_s))
        self.engine = Engine(lambda: self.runner, self.bridge, self.clock)  # type: ignore[arg-type]
        self.engine.set_up(self.runner)

    def open(self, **params: object) -> Session:
        session = Session(SessionParams(**params), self.clock)  # type: ignore[arg-type]
        self.open_session(session)
        return session

    def open_session(self, session: Session) -> None:
        self.bridge.queued.append(OpenSession(session))
        self.engine.tick()

    def say(self, session: Session, frames: int = 1) -> None:
        for frame in speech(frames):
            session.inbox.offer(frame, self.clock.now())


def test_it_is_ready_once_warm():
    bench = Bench()
    assert bench.runner.warmed_up
    assert bench.bridge.posts == [[EngineReady(bench.runner.card, bench.runner.slots)]]


def test_one_post_a_tick_tells_all_there_is():
    bench = Bench()
    first, second = bench.open(), bench.open()
    third = Session(SessionParams(), bench.clock)
    bench.say(first)
    bench.say(second)
    bench.bridge.queued += [OpenSession(third), CloseSession(first)]
    bench.bridge.posts.clear()
    bench.engine.tick()
    fourth = Session(SessionParams(), bench.clock)
    bench.bridge.queued.append(OpenSession(fourth))
    bench.engine.tick()
    [[opened, closed], [also_opened, stepped]] = bench.bridge.posts
    assert (opened, closed, also_opened) == (SessionOpened(third), SessionClosed(first), SessionOpened(fourth))
    assert isinstance(stepped, Stepped) and [session for session, _ in stepped.replies] == [second]
    bench.engine.check_integrity()


def test_what_a_step_said_is_told_while_the_next_one_runs():
    """So that a GPU does not stand still meanwhile; and when no other follows it is told at once."""
    bench = Bench()
    session = bench.open()
    bench.say(session, 2)
    told_before_step: list[int] = []
    bench.runner._before_step = lambda: told_before_step.append(len(bench.bridge.posts))
    bench.bridge.posts.clear()
    bench.bridge.waits_s.clear()
    for _ in range(2):
        bench.engine.tick()
    assert bench.bridge.waits_s == []
    bench.engine.tick()
    assert told_before_step == [0, 1]
    assert len(bench.bridge.posts) == 2 and len(bench.bridge.waits_s) == 1


def test_who_moves_between_a_step_and_its_telling_hears_all_of_it():
    clock, bridge = FakeClock(), FakeBridge()
    engine = Engine(lambda: EchoRunner(4), bridge, clock)  # type: ignore[arg-type]
    engine.set_up(EchoRunner(4))
    sessions = [Session(SessionParams(), clock) for _ in range(4)]
    bridge.queued += [OpenSession(session) for session in sessions]
    frames = speech(2)
    for frame in frames:
        sessions[3].inbox.offer(frame, clock.now())
    engine.tick()
    bridge.queued += [CloseSession(session) for session in sessions[:3]]
    for _ in range(2):
        engine.tick()
    stepped = [notice for post in bridge.posts for notice in post if isinstance(notice, Stepped)]
    heard = [reply.pcm for step in stepped for session, reply in step.replies if session is sessions[3]]
    assert np.array_equal(np.array(heard), np.array(frames))


def test_a_late_caller_in_a_high_row_moves_down_when_the_others_leave():
    bench = Bench(slots=8)
    sessions = [bench.open() for _ in range(5)]
    bench.bridge.queued += [CloseSession(session) for session in sessions[1:4]]
    bench.say(sessions[4])
    bench.bridge.posts.clear()
    bench.engine.tick()
    bench.engine.tick()
    assert bench.runner.moved == [(4, 1)]
    assert bench.runner.batches == [(2, [1])]
    [_, [stepped]] = bench.bridge.posts
    assert isinstance(stepped, Stepped) and [session for session, _ in stepped.replies] == [sessions[4]]
    assert stepped.rows == 2
    bench.engine.check_integrity()


def test_a_call_that_breaks_is_told_so_and_nothing_of_it():
    bench = Bench()
    sound, broken = bench.open(), bench.open()
    bench.runner.broken.add(1)
    bench.say(sound)
    bench.say(broken)
    bench.engine.tick()
    bench.engine.tick()
    stepped, why = bench.bridge.posts[-1]
    assert isinstance(stepped, Stepped) and [session for session, _ in stepped.replies] == [sound]
    assert why == OutputNonFinite(broken)


def test_a_new_caller_starts_the_runner_with_their_parameters():
    bench = Bench()
    session = bench.open(text_seed=5)
    assert bench.runner.started == [(0, session.params)]


def test_it_takes_every_slot_that_holds_a_frame_and_turns_at_once():
    bench = Bench()
    sessions = [bench.open() for _ in range(3)]
    bench.say(sessions[0], 2)
    bench.say(sessions[2], 1)
    bench.bridge.waits_s.clear()
    bench.engine.tick()
    bench.engine.tick()
    assert bench.runner.batches == [(4, [0, 2]), (4, [0])]
    assert bench.bridge.waits_s == []
    bench.engine.tick()
    assert len(bench.bridge.waits_s) == 1 and len(bench.runner.batches) == 2


def test_it_sleeps_until_rung_when_nobody_has_spoken():
    bench = Bench()
    bench.open()
    assert bench.bridge.waits_s == [None]


def test_it_sleeps_until_silence_is_due():
    bench = Bench()
    session = bench.open()
    bench.say(session)
    offered_at = bench.clock.now()
    for _ in range(3):
        bench.engine.tick()
    assert bench.bridge.waits_s[-1] == pytest.approx(offered_at + SILENCE_AFTER_S - bench.clock.now())


def test_ten_minutes_of_mute_are_ten_minutes_for_the_model():
    bench = Bench(step_s=0.0)
    session = bench.open()
    bench.say(session)
    begun_at = bench.clock.now()
    while bench.clock.now() < begun_at + 600:
        bench.engine.tick()
        bench.clock.advance(bench.bridge.waits_s[-1] or 0.0 if bench.bridge.waits_s else 0.0)
        bench.bridge.waits_s.clear()
    assert len(bench.runner.batches) == pytest.approx(600 / FRAME_S, abs=SILENCE_AFTER_S / FRAME_S + 2)


def test_times_tell_the_wait_from_the_step():
    bench = Bench(step_s=0.03)
    session = bench.open()
    bench.say(session)
    bench.clock.advance(0.005)
    bench.engine.tick()
    bench.engine.tick()
    [stepped] = bench.bridge.posts[-1]
    assert isinstance(stepped, Stepped)
    reply = stepped.replies[0][1]
    assert (reply.wait_s, reply.step_s, reply.model_s) == pytest.approx((0.005, 0.03, 0.03))


def run_thread(runner: TalkingRunner, *commands: OpenSession | StopEngine) -> FakeBridge:
    """Run a real engine thread to its end on what was queued."""
    bridge = FakeBridge()
    bridge.queued += commands
    engine = Engine(lambda: runner, bridge, FakeClock())  # type: ignore[arg-type]
    engine.start()
    assert engine.join(TIMEOUT_S)
    return bridge


def test_stop_ends_the_thread_and_closes_the_runner():
    runner = TalkingRunner(1)
    bridge = run_thread(runner, StopEngine())
    assert runner.closed and bridge.posts == [[EngineReady(runner.card, runner.slots)]]


def test_a_step_that_raises_ends_the_thread_and_says_why_and_where(caplog: pytest.LogCaptureFixture):
    def fall() -> None:
        raise RuntimeError("the device fell off the bus")

    session = Session(SessionParams(), FakeClock())
    session.inbox.offer(speech(1)[0], 0.0)
    bridge = run_thread(TalkingRunner(1, before_step=fall), OpenSession(session))
    assert bridge.posts[-1] == [EngineCrashed("the device fell off the bus")]
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert told.exc_text and "in fall" in told.exc_text, "nobody can ask a step again where it failed"


def test_a_turn_under_way_has_a_number_and_sleep_has_none():
    bench = Bench()
    seen: list[int | None] = []
    bench.runner._before_step = lambda: seen.append(bench.engine.turn)
    assert bench.engine.turn is None
    session = bench.open()
    bench.say(session, 2)
    bench.engine.tick()
    bench.engine.tick()
    first, second = seen
    assert first is not None and second == first + 1
    bench.engine.tick()
    bench.engine.tick()
    assert bench.engine.turn is None
