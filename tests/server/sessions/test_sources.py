"""The source seam: the engine steps whatever gives frames, as it gives them."""

from __future__ import annotations

import numpy as np

from server.audio.framing import FRAME_SAMPLES
from server.engine.bridge import Stepped
from server.sessions.params import SessionParams
from server.sessions.session import Session
from server.sessions.sources import Source
from tests.fakes import FakeClock, FileSource
from tests.server.chat_client import speech
from tests.server.engine.test_engine import Bench


def replies(bench: Bench, turns: int) -> list[Session]:
    """Whose frames were stepped in the next `turns`, in order."""
    bench.bridge.posts.clear()
    for _ in range(turns):
        bench.engine.tick()
    notices = [notice for post in bench.bridge.posts for notice in post if isinstance(notice, Stepped)]
    return [session for notice in notices for session, _ in notice.replies]


def file_session(clock: FakeClock, frames: int) -> tuple[Session, Source]:
    source = FileSource(speech(frames))
    return Session(SessionParams(), clock, source=source), source


def test_file_source_is_stepped_as_fast_as_the_engine_turns():
    bench = Bench()
    session, source = file_session(bench.clock, frames=5)
    bench.open_session(session)
    before = bench.clock.now()
    assert replies(bench, turns=8) == [session] * 5
    assert bench.clock.now() - before < 5 * 0.08 and source.due_at == float("inf")


def test_file_source_and_microphone_share_a_step():
    bench = Bench()
    session, _ = file_session(bench.clock, frames=4)
    bench.open_session(session)
    caller = bench.open()
    bench.say(caller)
    assert {*replies(bench, turns=3)} == {session, caller}
    assert [0, 1] in [active for _, active in bench.runner.batches]


def test_file_source_gives_nothing_while_paused_and_loses_nothing():
    bench = Bench()
    session, source = file_session(bench.clock, frames=3)
    bench.open_session(session)
    assert source.pause() == 0
    assert replies(bench, turns=3) == [session], "of the step with which the session was opened"
    source.resume(bench.clock.now())
    assert replies(bench, turns=5) == [session] * 2


def test_file_source_gives_its_frames_in_order():
    source, frames = FileSource(speech(3)), speech(3)
    taken = [source.take(0.0) for _ in range(4)]
    assert taken[3] is None
    for frame, expected in zip(taken, frames, strict=False):
        assert frame is not None and frame.pcm.shape == (FRAME_SAMPLES,)
        np.testing.assert_array_equal(frame.pcm, expected)
