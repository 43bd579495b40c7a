"""The engine's tick, called by hand: without its thread and an event loop, on a fake clock."""

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
from tests.server.engine.harness import EngineHarness


def test_engine_posts_ready_after_the_warm_up():
    harness = EngineHarness()
    assert harness.runner.warmed_up
    assert harness.bridge.posts == [[EngineReady(harness.runner.card, harness.runner.slots)]]


def test_tick_posts_all_its_notices_at_once():
    harness = EngineHarness()
    first, second = harness.open(), harness.open()
    third = Session(SessionParams(), harness.clock)
    harness.offer_frames(first)
    harness.offer_frames(second)
    harness.bridge.queued += [OpenSession(third), CloseSession(first)]
    harness.bridge.posts.clear()
    harness.engine.tick()
    fourth = Session(SessionParams(), harness.clock)
    harness.bridge.queued.append(OpenSession(fourth))
    harness.engine.tick()
    [[opened, closed], [opened_later, stepped]] = harness.bridge.posts
    assert (opened, closed, opened_later) == (SessionOpened(third), SessionClosed(first), SessionOpened(fourth))
    assert isinstance(stepped, Stepped) and [session for session, _ in stepped.replies] == [second]
    harness.engine.check_integrity()


def test_replies_of_a_step_are_posted_while_the_next_step_runs():
    """This keeps a GPU busy. When no step follows, the replies are posted at once."""
    harness = EngineHarness()
    session = harness.open()
    harness.offer_frames(session, 2)
    posts_before_step: list[int] = []
    harness.runner._before_step = lambda: posts_before_step.append(len(harness.bridge.posts))
    harness.bridge.posts.clear()
    harness.bridge.waits_s.clear()
    for _ in range(2):
        harness.engine.tick()
    assert harness.bridge.waits_s == []
    harness.engine.tick()
    assert posts_before_step == [0, 1]
    assert len(harness.bridge.posts) == 2 and len(harness.bridge.waits_s) == 1


def test_session_moved_before_its_reply_is_posted_receives_every_reply():
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
    received = [reply.pcm for step in stepped for session, reply in step.replies if session is sessions[3]]
    assert np.array_equal(np.array(received), np.array(frames))


def test_session_in_a_high_row_moves_down_after_the_others_close():
    harness = EngineHarness(slots=8)
    sessions = [harness.open() for _ in range(5)]
    harness.bridge.queued += [CloseSession(session) for session in sessions[1:4]]
    harness.offer_frames(sessions[4])
    harness.bridge.posts.clear()
    harness.engine.tick()
    harness.engine.tick()
    assert harness.runner.moved == [(4, 1)]
    assert harness.runner.batches == [(2, [1])]
    [_, [stepped]] = harness.bridge.posts
    assert isinstance(stepped, Stepped) and [session for session, _ in stepped.replies] == [sessions[4]]
    assert stepped.rows == 2
    harness.engine.check_integrity()


def test_session_with_non_finite_output_receives_a_notice_and_no_reply():
    harness = EngineHarness()
    healthy, broken = harness.open(), harness.open()
    harness.runner.broken.add(1)
    harness.offer_frames(healthy)
    harness.offer_frames(broken)
    harness.engine.tick()
    harness.engine.tick()
    stepped, why = harness.bridge.posts[-1]
    assert isinstance(stepped, Stepped) and [session for session, _ in stepped.replies] == [healthy]
    assert why == OutputNonFinite(broken)


def test_opening_a_session_starts_the_runner_with_its_parameters():
    harness = EngineHarness()
    session = harness.open(text_seed=5)
    assert harness.runner.started == [(0, session.params)]


def test_tick_steps_every_slot_that_has_a_frame_without_waiting():
    harness = EngineHarness()
    sessions = [harness.open() for _ in range(3)]
    harness.offer_frames(sessions[0], 2)
    harness.offer_frames(sessions[2], 1)
    harness.bridge.waits_s.clear()
    harness.engine.tick()
    harness.engine.tick()
    assert harness.runner.batches == [(4, [0, 2]), (4, [0])]
    assert harness.bridge.waits_s == []
    harness.engine.tick()
    assert len(harness.bridge.waits_s) == 1 and len(harness.runner.batches) == 2


def test_engine_waits_for_the_bridge_before_the_first_frame():
    harness = EngineHarness()
    harness.open()
    assert harness.bridge.waits_s == [None]


def test_engine_waits_until_silence_is_due():
    harness = EngineHarness()
    session = harness.open()
    harness.offer_frames(session)
    offered_at = harness.clock.now()
    for _ in range(3):
        harness.engine.tick()
    assert harness.bridge.waits_s[-1] == pytest.approx(offered_at + SILENCE_AFTER_S - harness.clock.now())


def test_ten_minutes_of_muted_input_are_ten_minutes_of_steps():
    harness = EngineHarness(step_s=0.0)
    session = harness.open()
    harness.offer_frames(session)
    begun_at = harness.clock.now()
    while harness.clock.now() < begun_at + 600:
        harness.engine.tick()
        harness.clock.advance(harness.bridge.waits_s[-1] or 0.0 if harness.bridge.waits_s else 0.0)
        harness.bridge.waits_s.clear()
    assert len(harness.runner.batches) == pytest.approx(600 / FRAME_S, abs=SILENCE_AFTER_S / FRAME_S + 2)


def test_reply_times_separate_the_wait_from_the_step():
    harness = EngineHarness(step_s=0.03)
    session = harness.open()
    harness.offer_frames(session)
    harness.clock.advance(0.005)
    harness.engine.tick()
    harness.engine.tick()
    [stepped] = harness.bridge.posts[-1]
    assert isinstance(stepped, Stepped)
    reply = stepped.replies[0][1]
    assert (reply.wait_s, reply.step_s, reply.model_s) == pytest.approx((0.005, 0.03, 0.03))


def run_thread(runner: TalkingRunner, *commands: OpenSession | StopEngine) -> FakeBridge:
    """Run a real engine thread on `commands` until it ends."""
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


def test_step_that_raises_ends_the_thread_with_the_reason_and_a_traceback(caplog: pytest.LogCaptureFixture):
    def fail_step() -> None:
        raise RuntimeError("the device fell off the bus")

    session = Session(SessionParams(), FakeClock())
    session.inbox.offer(speech(1)[0], 0.0)
    bridge = run_thread(TalkingRunner(1, before_step=fail_step), OpenSession(session))
    assert bridge.posts[-1] == [EngineCrashed("the device fell off the bus")]
    [logged] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.exc_text and "in fail_step" in logged.exc_text, "the log has the traceback"


def test_turn_is_a_number_during_a_tick_and_none_while_the_engine_waits():
    harness = EngineHarness()
    seen: list[int | None] = []
    harness.runner._before_step = lambda: seen.append(harness.engine.tick_number)
    assert harness.engine.tick_number is None
    session = harness.open()
    harness.offer_frames(session, 2)
    harness.engine.tick()
    harness.engine.tick()
    first, second = seen
    assert first is not None and second == first + 1
    harness.engine.tick()
    harness.engine.tick()
    assert harness.engine.tick_number is None
