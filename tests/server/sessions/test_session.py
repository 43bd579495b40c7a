from __future__ import annotations

import asyncio

import numpy as np
import pytest

from server.audio.framing import FRAME_SAMPLES
from server.errors import BadParameter, ClientClosed, ConnectionLost, EngineFailed, LimitReached, Restarting
from server.events import Queued, Ready, Skipped, Stats
from server.metrics import Count
from server.sessions.inbox import INBOX_FRAMES
from server.sessions.outbox import OUTBOX_FRAMES, KeepAlive, Reply
from server.sessions.params import SessionParams
from server.sessions.session import Session, SessionState
from tests.fakes import FakeClock
from tests.server.chat_client import speech


def new_session(max_call_s: float | None = None, **params: object) -> Session:
    return Session(SessionParams(**params), FakeClock(), max_call_s=max_call_s)  # type: ignore[arg-type]


def reply(piece: str = "") -> Reply:
    return Reply(np.zeros(FRAME_SAMPLES, np.float32), None, piece, False, 0.0, 0.002, 0.004, 0.004)


async def everything(session: Session) -> list[object]:
    """All that waits to be sent, without waiting for more."""
    sent: list[object] = []
    while not session.outbox.is_empty:
        sent.append(await session.outbox.next())
    return sent


def test_seeds_are_drawn_and_differ_from_call_to_call():
    first, second = SessionParams.from_query({}), SessionParams.from_query({"seed": "-1"})
    assert first.text_seed == first.audio_seed != second.text_seed == second.audio_seed


def test_one_seed_sets_both_unless_they_are_given():
    params = SessionParams.from_query({"seed": "7", "text_seed": "8", "events": "1"})
    assert (params.text_seed, params.audio_seed) == (8, 7)


def test_what_is_wrong_with_a_seed_is_said_of_the_seed():
    with pytest.raises(BadParameter, match=r"^seed should be a valid integer"):
        SessionParams.from_query({"seed": "x"})


def test_a_state_that_cannot_follow_is_named():
    session = new_session()
    session.open()
    with pytest.raises(RuntimeError, match="a session that is running becomes draining or parked, not running"):
        session.open()
    with pytest.raises(RuntimeError, match="running becomes draining or parked, not closed"):
        session.close()
    session.end(ClientClosed())
    session.close()
    with pytest.raises(RuntimeError, match="closed becomes nothing"):
        session.close()


def test_a_session_that_ends_in_line_never_runs():
    session = new_session()
    session.end(ClientClosed())
    assert session.state is SessionState.WAITING
    session.close()
    assert session.state is SessionState.CLOSED


async def test_the_first_reason_to_end_stands():
    session = new_session()
    session.open()
    session.end(Restarting("going down"))
    session.end(ClientClosed())
    assert isinstance(await session.outbox.wait_closed(), Restarting)


async def test_what_was_said_before_the_end_is_still_sent_and_nothing_after():
    session = new_session()
    session.open()
    session.push_reply(reply("a"))
    session.end(Restarting("going down"))
    session.push_reply(reply("b"))
    session.send_event(KeepAlive())
    pieces = [item.piece for item in await everything(session) if isinstance(item, Reply)]
    assert pieces == ["a"]
    assert await session.outbox.next() is None


async def test_a_fault_of_ours_drops_what_waits():
    session = new_session()
    session.open()
    session.push_reply(reply("a"))
    session.end(EngineFailed("broken"))
    assert await session.outbox.next() is None


async def test_next_wakes_for_a_reply_and_for_the_end():
    session = new_session()
    waiting = asyncio.create_task(session.outbox.next())
    await asyncio.sleep(0)
    session.push_reply(reply("late"))
    assert isinstance(await waiting, Reply)
    waiting = asyncio.create_task(session.outbox.next())
    await asyncio.sleep(0)
    session.end(ClientClosed())
    assert await waiting is None


async def test_events_are_one_of_each_type_the_newest_and_skips_add_up():
    session = new_session()
    for position in (3, 2, 1):
        session.send_event(Queued(position, None))
    session.send_event(Skipped(1))
    session.send_event(Skipped(2))
    assert await everything(session) == [Queued(1, None), Skipped(3)]


async def test_frames_that_pile_up_are_counted_and_told():
    session = new_session()
    for frame in speech(INBOX_FRAMES + 2):
        session.push_frame(frame)
    assert session.counts[Count.FRAMES_SKIPPED] == 2
    assert await everything(session) == [Skipped(2)]


async def test_a_caller_who_does_not_listen_keeps_two_seconds_at_most_and_is_told():
    session = new_session()
    for number in range(OUTBOX_FRAMES + 3):
        session.push_reply(reply(str(number)))
    assert session.counts[Count.FRAMES_UNSENT] == 3
    assert await session.outbox.next() == Skipped(3)
    first = await session.outbox.next()
    assert isinstance(first, Reply) and first.piece == "3"


async def test_stalled_is_how_long_nothing_was_taken_of_what_waits():
    clock = FakeClock()
    session = Session(SessionParams(), clock)
    clock.advance(60)
    assert session.outbox.stalled_s(clock.now()) == 0, "nothing waits"
    session.push_reply(reply())
    session.push_reply(reply())
    clock.advance(3)
    assert session.outbox.stalled_s(clock.now()) == pytest.approx(3)
    await session.outbox.next()
    assert session.outbox.stalled_s(clock.now()) == 0


def parked(clock: FakeClock, **choices: object) -> Session:
    """One that was greeted and lost its socket."""
    session = Session(SessionParams(**choices), clock, resume_s=20)  # type: ignore[arg-type]
    session.open("token")
    session.greeted_at = clock.now()
    session.hang_up(session.outbox, ConnectionLost("gone"))
    assert session.state is SessionState.PARKED
    return session


@pytest.mark.parametrize(
    ("resume_s", "greeted", "why"),
    [(0, True, ConnectionLost("gone")), (20, False, ConnectionLost("gone")), (20, True, ClientClosed("bye"))],
    ids=["did not ask", "has no token", "said goodbye"],
)
def test_only_who_may_come_back_is_parked(resume_s: float, greeted: bool, why: ClientClosed):
    clock = FakeClock()
    session = Session(SessionParams(), clock, resume_s=resume_s)
    session.open()
    session.greeted_at = clock.now() if greeted else None
    session.hang_up(session.outbox, why)
    assert session.ended is why and session.state is SessionState.DRAINING


async def test_what_was_not_sent_at_the_break_is_counted_and_told():
    clock = FakeClock()
    session = Session(SessionParams(), clock, resume_s=20)
    session.open("first")
    session.greeted_at = clock.now()
    for frame in speech(3):
        session.push_frame(frame)
    session.push_reply(reply("unsent"))
    lost = session.outbox
    session.hang_up(lost, ConnectionLost("gone"))
    session.push_reply(reply("of the step under way"))
    assert await lost.next() is None and isinstance(await lost.wait_closed(), ConnectionLost)
    assert (session.counts[Count.FRAMES_UNSENT], session.counts[Count.FRAMES_SKIPPED]) == (2, 3)
    clock.advance(4)
    session.resume("second")
    ready, skip = await everything(session)
    assert ready == Ready(session.id, seed=0, resume_token="second", resume_s=20, gap_s=4.0)
    assert skip == Skipped(5)
    session.hang_up(lost, ClientClosed("the old socket closes at last"))
    assert session.state is SessionState.RUNNING


async def test_a_limit_is_told_before_the_greeting_and_what_is_left_of_it_after_a_break():
    session = Session(SessionParams(), FakeClock(), max_call_s=60, resume_s=20)
    session.open("token")
    [first] = await everything(session)
    assert isinstance(first, Ready) and first.left_s == 60
    session.greeted_at = 0.0
    for _ in range(125):
        session.push_reply(reply())
    session.hang_up(session.outbox, ConnectionLost("gone"))
    session.resume("another")
    [again, *_] = await everything(session)
    assert isinstance(again, Ready) and again.left_s == 50


async def test_a_call_that_breaks_twice_tells_only_what_is_new():
    session = parked(FakeClock())
    session.push_reply(reply())
    session.resume("second")
    assert [type(event) for event in await everything(session) if not isinstance(event, Reply)] == [Ready, Skipped]
    session.hang_up(session.outbox, ConnectionLost("again"))
    session.resume("third")
    assert [type(event) for event in await everything(session) if not isinstance(event, Reply)] == [Ready]


async def test_what_was_missed_is_told_though_the_line_is_lost_before_it_is():
    session = parked(FakeClock())
    session.push_reply(reply())
    for token in ("second", "third"):
        session.resume(token)
        session.hang_up(session.outbox, ConnectionLost("at once"))
    session.resume("fourth")
    assert (await everything(session))[1:] == [Skipped(1)]


def test_time_parked_is_no_time_of_the_call():
    clock = FakeClock()
    session = Session(SessionParams(), clock, resume_s=20)
    session.open()
    session.greeted_at = clock.now()
    clock.advance(5)
    session.push_frame(speech(1)[0])
    clock.advance(1)
    session.park(ConnectionLost("gone"))
    clock.advance(15)
    session.resume("token")
    assert clock.now() - session.greeted_at == 6 and session.heard_at is not None
    assert clock.now() - session.heard_at == 1


async def test_a_call_whose_last_step_was_under_way_ends_when_it_is_taken_up_again():
    session = parked(FakeClock(), max_steps=1)
    session.push_reply(reply())
    assert session.ended is None, "the caller is told that it is the limit, not that there is nothing to go on with"
    session.resume("token")
    assert isinstance(session.ended, LimitReached)
    assert [type(event) for event in await everything(session) if not isinstance(event, Reply)] == [Ready, Skipped]


def test_a_parked_call_that_ends_drains_as_any():
    session = parked(FakeClock())
    session.end(Restarting("going down"))
    assert session.state is SessionState.DRAINING
    session.close()


async def test_stats_are_means_since_the_last_ones():
    session = new_session()
    session.send_stats()
    assert await everything(session) == []
    session.push_reply(reply())
    await session.outbox.next()
    session.send_stats()
    session.send_stats()
    assert await everything(session) == [Stats(step_ms=4.0, wait_ms=2.0)]


@pytest.mark.parametrize(
    ("max_steps", "max_call_s", "frames"), [(3, None, 3), (None, 0.4, 5), (3, 0.4, 3), (9, 0.4, 5)]
)
async def test_a_call_ends_at_the_shorter_of_its_two_limits(
    max_steps: int | None, max_call_s: float | None, frames: int
):
    session = new_session(max_call_s, max_steps=max_steps)
    session.open()
    for _ in range(frames - 1):
        session.push_reply(reply())
    assert session.ended is None
    session.push_reply(reply())
    assert isinstance(session.ended, LimitReached)
    assert len([item for item in await everything(session) if isinstance(item, Reply)]) == frames
