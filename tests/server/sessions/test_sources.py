"""The source seam: the engine steps any source, as soon as its frames are due."""

from __future__ import annotations

import numpy as np

from server.audio.framing import FRAME_SAMPLES
from server.engine.bridge import Stepped
from server.sessions.params import SessionParams
from server.sessions.session import Session
from server.sessions.sources import Source
from tests.fakes import FakeClock, FileSource
from tests.server.chat_client import speech
from tests.server.engine.harness import EngineHarness


def sessions_stepped(harness: EngineHarness, ticks: int) -> list[Session]:
    """The sessions whose frames were stepped in the next `ticks` ticks, in order."""
    harness.bridge.posts.clear()
    for _ in range(ticks):
        harness.engine.tick()
    notices = [notice for post in harness.bridge.posts for notice in post if isinstance(notice, Stepped)]
    return [session for notice in notices for session, _ in notice.replies]


def file_session(clock: FakeClock, frames: int) -> tuple[Session, Source]:
    source = FileSource(speech(frames))
    return Session(SessionParams(), clock, source=source), source


def test_file_source_is_stepped_as_fast_as_the_engine_ticks():
    harness = EngineHarness()
    session, source = file_session(harness.clock, frames=5)
    harness.open_session(session)
    before = harness.clock.now()
    assert sessions_stepped(harness, ticks=8) == [session] * 5
    assert harness.clock.now() - before < 5 * 0.08 and source.due_at == float("inf")


def test_file_source_and_microphone_share_a_step():
    harness = EngineHarness()
    session, _ = file_session(harness.clock, frames=4)
    harness.open_session(session)
    caller = harness.open()
    harness.offer_frames(caller)
    assert {*sessions_stepped(harness, ticks=3)} == {session, caller}
    assert [0, 1] in [active for _, active in harness.runner.batches]


def test_file_source_gives_nothing_while_paused_and_loses_nothing():
    harness = EngineHarness()
    session, source = file_session(harness.clock, frames=3)
    harness.open_session(session)
    assert source.pause() == 0
    assert sessions_stepped(harness, ticks=3) == [session], "only the frame of the tick that opened the session"
    source.resume(harness.clock.now())
    assert sessions_stepped(harness, ticks=5) == [session] * 2


def test_file_source_gives_its_frames_in_order():
    source, frames = FileSource(speech(3)), speech(3)
    taken = [source.take(0.0) for _ in range(4)]
    assert taken[3] is None
    for frame, expected in zip(taken, frames, strict=False):
        assert frame is not None and frame.pcm.shape == (FRAME_SAMPLES,)
        np.testing.assert_array_equal(frame.pcm, expected)
