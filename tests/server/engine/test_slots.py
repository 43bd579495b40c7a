from __future__ import annotations

import numpy as np
import pytest

from server.engine.batch import StepResult
from server.engine.slots import Slots, Times
from server.session import Session, SessionParams
from tests.fakes import FakeClock
from tests.server.phone import speech

NO_TIME = Times(0.0, 0.0, 0.0, 0.0)


def new_session() -> Session:
    return Session(SessionParams(), FakeClock())


def rows(slots: Slots) -> int:
    """How many rows the next step has, with a frame for the first live slot at least."""
    batch = slots.gather(0.0)
    assert batch is not None
    assert len(batch.pcm) == len(batch.active)
    return len(batch.active)


def test_the_lowest_free_slot_is_taken_first():
    slots = Slots(4)
    first, second, third = new_session(), new_session(), new_session()
    assert [slots.take(session) for session in (first, second, third)] == [0, 1, 2]
    slots.free(second)
    slots.free(first)
    assert slots.take(new_session()) == 0
    assert slots.take(new_session()) == 1
    slots.check_integrity()


@pytest.mark.parametrize(("live", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6)])
def test_a_step_runs_on_the_smallest_bucket_that_holds_every_live_slot(live: int, bucket: int):
    slots = Slots(6)
    sessions = [new_session() for _ in range(live)]
    for session in sessions:
        slots.take(session)
    sessions[0].inbox.offer(speech(1)[0], 0.0)
    assert rows(slots) == bucket


def test_the_bucket_shrinks_when_the_high_rows_hang_up():
    slots = Slots(8)
    sessions = [new_session() for _ in range(5)]
    for session in sessions:
        slots.take(session)
    slots.free(sessions[4])
    slots.free(sessions[3])
    slots.free(sessions[1])
    sessions[0].inbox.offer(speech(1)[0], 0.0)
    assert rows(slots) == 4, "slot 2 is live, though it has no frame"
    slots.free(sessions[2])
    sessions[0].inbox.offer(speech(1)[0], 0.0)
    assert rows(slots) == 1


def test_each_hears_the_reply_to_its_own_frame():
    slots = Slots(4)
    sessions, frames = [new_session() for _ in range(3)], speech(3)
    for session in sessions:
        slots.take(session)
    for row in (0, 2):
        sessions[row].inbox.offer(frames[row], 0.0)
    batch = slots.gather(0.0)
    assert batch and batch.active.tolist() == [True, False, True, False]
    spoken = np.array([False, False, True, False])
    replies = slots.scatter(StepResult(batch.pcm * 2, spoken, ["", "", "hi", ""]), NO_TIME)
    assert [session for session, _ in replies] == [sessions[0], sessions[2]]
    assert replies[0][1].pcm is None
    assert np.array_equal(replies[1][1].pcm, frames[2] * 2) and replies[1][1].piece == "hi"  # type: ignore[arg-type]
    slots.check_integrity()


def test_a_reply_outlives_the_buffers_of_the_step():
    slots, session, frames = Slots(1), new_session(), speech(2)
    slots.take(session)
    session.inbox.offer(frames[0], 0.0)
    batch = slots.gather(0.0)
    assert batch
    [(_, reply)] = slots.scatter(StepResult(batch.pcm, batch.active, [""]), NO_TIME)
    session.inbox.offer(frames[1], 0.0)
    slots.gather(0.0)
    assert np.array_equal(reply.pcm, frames[0])  # type: ignore[arg-type]


def test_nothing_to_step_is_no_batch():
    slots = Slots(2)
    assert slots.gather(0.0) is None
    slots.take(new_session())
    assert slots.gather(0.0) is None


def test_integrity_names_a_frame_that_was_never_answered():
    slots, session = Slots(2), new_session()
    slots.take(session)
    session.inbox.offer(speech(1)[0], 0.0)
    slots.gather(0.0)
    with pytest.raises(AssertionError, match="never answered"):
        slots.check_integrity()


def test_waiting_for_the_step_before_is_the_models_time():
    times = Times(started_at=10.0, ended_at=10.03, previous_started_at=9.95, previous_ended_at=9.99)
    assert times.reply_times(offered_at=9.97) == pytest.approx({"wait_s": 0.03, "step_s": 0.03, "model_s": 0.05})
    assert times.reply_times(offered_at=9.995) == pytest.approx({"wait_s": 0.005, "step_s": 0.03, "model_s": 0.03})
