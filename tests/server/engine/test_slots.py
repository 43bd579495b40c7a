from __future__ import annotations

import numpy as np
import pytest

from server.engine.batch import Batch, StepResult, buckets
from server.engine.slots import Slots, StepTimes
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeClock
from tests.server.chat_client import speech

NO_TIME = StepTimes(0.0, 0.0, 0.0, 0.0)


def new_session() -> Session:
    return Session(SessionParams(), FakeClock())


def rows(slots: Slots) -> int:
    """How many rows the next step has. At least one slot must have a frame."""
    gathered = slots.gather(0.0)
    assert gathered is not None
    assert len(gathered.batch.pcm) == len(gathered.batch.active)
    return len(gathered.batch.active)


def echo_result(batch: Batch, *, spoken: list[bool] | None = None, finite: list[bool] | None = None) -> StepResult:
    """A result that echoes the batch at twice the level, with some rows not spoken or not finite."""
    rows = len(batch.active)
    pieces = [f"piece {row}" for row in range(rows)]
    all_rows = [True] * rows
    return StepResult(batch.pcm * 2, np.array(spoken or all_rows), pieces, np.array(finite or all_rows), rows)


def test_lowest_free_slot_is_taken_first():
    slots = Slots(4)
    first, second, third = new_session(), new_session(), new_session()
    assert [slots.take(session) for session in (first, second, third)] == [0, 1, 2]
    slots.free(second)
    slots.free(first)
    assert slots.take(new_session()) == 0
    assert slots.take(new_session()) == 1
    slots.check_integrity()


@pytest.mark.parametrize(("live", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6)])
def test_step_uses_the_smallest_bucket_that_holds_every_live_slot(live: int, bucket: int):
    slots = Slots(6)
    sessions = [new_session() for _ in range(live)]
    for session in sessions:
        slots.take(session)
    sessions[0].inbox.offer(speech(1)[0], 0.0)
    assert rows(slots) == bucket


@pytest.mark.parametrize(
    ("slots", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (13, [1, 2, 4, 8, 12, 13])]
)
def test_buckets_of_a_number_of_slots(slots: int, sizes: list[int]):
    assert buckets(slots) == sizes


def test_bucket_shrinks_after_the_high_rows_are_freed():
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


def test_compact_moves_high_rows_into_free_low_ones():
    slots = Slots(8)
    sessions = [new_session() for _ in range(6)]
    for session in sessions:
        slots.take(session)
    for left in (0, 2, 3):
        slots.free(sessions[left])
    assert slots.compact() == [(4, 0), (5, 2)]
    slots.check_integrity()
    sessions[5].inbox.offer(speech(1)[0], 0.0)
    gathered = slots.gather(0.0)
    assert gathered and gathered.batch.active.tolist() == [False, False, True, False]
    assert gathered.frames[0][1] is sessions[5]
    assert [slots.free(sessions[n]) for n in (4, 1, 5)] == [0, 1, 2]


def test_compact_moves_nothing_unless_the_bucket_becomes_smaller():
    slots = Slots(8)
    sessions = [new_session() for _ in range(8)]
    for session in sessions:
        slots.take(session)
    for left in (0, 3, 6):
        slots.free(sessions[left])
    assert slots.compact() == []
    slots.free(sessions[1])
    assert slots.compact() == [(4, 0), (5, 1), (7, 3)]
    assert slots.compact() == []


def test_scatter_gives_each_session_the_reply_to_its_own_frame():
    slots = Slots(4)
    sessions, frames = [new_session() for _ in range(3)], speech(3)
    for session in sessions:
        slots.take(session)
    for row in (0, 2):
        sessions[row].inbox.offer(frames[row], 0.0)
    gathered = slots.gather(0.0)
    assert gathered and gathered.batch.active.tolist() == [True, False, True, False]
    first, third = gathered.scatter(echo_result(gathered.batch, spoken=[False, False, True, False]), NO_TIME)
    assert (first[0], third[0]) == (sessions[0], sessions[2])
    assert first[1].pcm is None
    assert np.array_equal(third[1].pcm, frames[2] * 2) and third[1].piece == "piece 2"  # type: ignore[arg-type]
    slots.check_integrity()


def test_scatter_leaves_out_sessions_with_non_finite_output():
    slots = Slots(4)
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        slots.take(session)
        session.inbox.offer(speech(1)[0], 0.0)
    gathered = slots.gather(0.0)
    assert gathered
    result = echo_result(gathered.batch, finite=[True, False, True, False])  # the last row has no session
    assert gathered.non_finite(result) == [sessions[1]]
    assert [session for session, _ in gathered.scatter(result, NO_TIME)] == [sessions[0], sessions[2]]


def test_reply_does_not_share_the_buffer_of_the_step():
    slots, session, frames = Slots(1), new_session(), speech(2)
    slots.take(session)
    for frame in frames:
        session.inbox.offer(frame, 0.0)
    gathered = slots.gather(0.0)
    assert gathered
    result = echo_result(gathered.batch)
    [(_, reply)] = gathered.scatter(result, NO_TIME)
    result.pcm[:] = 0.0
    assert np.array_equal(reply.pcm, frames[0] * 2)  # type: ignore[arg-type]


def test_gather_without_a_frame_returns_none():
    slots = Slots(2)
    assert slots.gather(0.0) is None
    slots.take(new_session())
    assert slots.gather(0.0) is None


def test_reply_times_count_the_wait_for_the_previous_step_as_model_time():
    times = StepTimes(started_at=10.0, ended_at=10.03, previous_started_at=9.95, previous_ended_at=9.99)
    assert times.reply_times(offered_at=9.97) == pytest.approx({"wait_s": 0.03, "step_s": 0.03, "model_s": 0.05})
    assert times.reply_times(offered_at=9.995) == pytest.approx({"wait_s": 0.005, "step_s": 0.03, "model_s": 0.03})
