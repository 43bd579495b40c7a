"""A session: its states, what it sends and its limits."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from server.audio.framing import FRAME_SAMPLES
from server.errors import BadParameter, ClientClosed, EngineFailed, LimitReached, Restarting
from server.events import Queued, Skipped, Stats, Warned
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


async def sent_items(session: Session) -> list[object]:
    """All items that wait in the outbox, without waiting for more."""
    sent: list[object] = []
    while not session.outbox.is_empty:
        sent.append(await session.outbox.next())
    return sent


async def events(session: Session) -> list[object]:
    """All events that wait in the outbox, without the replies among them."""
    return [item for item in await sent_items(session) if not isinstance(item, Reply)]


def test_random_seeds_differ_between_sessions():
    first, second = SessionParams.from_query({}), SessionParams.from_query({"seed": "-1"})
    assert first.text_seed == first.audio_seed != second.text_seed == second.audio_seed


def test_seed_sets_both_seeds_that_are_not_given():
    params = SessionParams.from_query({"seed": "7", "text_seed": "8", "events": "1"})
    assert (params.text_seed, params.audio_seed) == (8, 7)


def test_invalid_seed_is_an_error_that_names_seed():
    with pytest.raises(BadParameter, match=r"^seed should be a valid integer"):
        SessionParams.from_query({"seed": "x"})


def test_invalid_transition_is_an_error_that_names_both_states():
    session = new_session()
    session.open()
    with pytest.raises(RuntimeError, match="a session that is running may become draining or parked, not running"):
        session.open()
    with pytest.raises(RuntimeError, match="running may become draining or parked, not closed"):
        session.close()
    session.end(ClientClosed())
    session.close()
    with pytest.raises(RuntimeError, match="closed may become nothing"):
        session.close()


def test_session_that_ends_while_queued_never_runs():
    session = new_session()
    session.end(ClientClosed())
    assert session.state is SessionState.WAITING
    session.close()
    assert session.state is SessionState.CLOSED


async def test_first_reason_to_end_is_kept():
    session = new_session()
    session.open()
    session.end(Restarting("going down"))
    session.end(ClientClosed())
    assert isinstance(await session.outbox.wait_closed(), Restarting)


async def test_replies_before_the_end_are_sent_and_later_ones_are_not():
    session = new_session()
    session.open()
    session.push_reply(reply("a"))
    session.end(Restarting("going down"))
    session.push_reply(reply("b"))
    session.send_event(KeepAlive())
    pieces = [item.piece for item in await sent_items(session) if isinstance(item, Reply)]
    assert pieces == ["a"]
    assert await session.outbox.next() is None


async def test_server_fault_discards_the_replies_that_wait():
    session = new_session()
    session.open()
    session.push_reply(reply("a"))
    session.end(EngineFailed())
    assert await session.outbox.next() is None


async def test_outbox_next_returns_for_a_reply_and_for_the_end():
    session = new_session()
    waiting = asyncio.create_task(session.outbox.next())
    await asyncio.sleep(0)
    session.push_reply(reply("late"))
    assert isinstance(await waiting, Reply)
    waiting = asyncio.create_task(session.outbox.next())
    await asyncio.sleep(0)
    session.end(ClientClosed())
    assert await waiting is None


async def test_only_the_newest_event_of_a_type_waits_and_skipped_frames_add_up():
    session = new_session()
    for position in (3, 2, 1):
        session.send_event(Queued(position, None))
    session.send_event(Skipped(1))
    session.send_event(Skipped(2))
    assert await sent_items(session) == [Queued(1, None), Skipped(3)]


async def test_frames_beyond_the_inbox_are_counted_and_sent_as_skipped():
    session = new_session()
    for frame in speech(INBOX_FRAMES + 2):
        session.push_frame(frame)
    assert session.counts[Count.FRAMES_SKIPPED] == 2
    assert await sent_items(session) == [Skipped(2)]


async def test_message_of_more_than_a_second_is_told_in_words_and_not_each_time():
    session = new_session()
    for _ in range(3):
        for follows in reversed(range(14)):
            session.push_frame(speech(1)[0], follows)
    warnings = [event for event in await sent_items(session) if isinstance(event, Warned)]
    assert len(warnings) == 1 and "1 s" in warnings[0].sentence


async def test_outbox_of_a_client_that_does_not_read_keeps_the_newest_frames():
    session = new_session()
    for number in range(OUTBOX_FRAMES + 3):
        session.push_reply(reply(str(number)))
    assert session.counts[Count.FRAMES_UNSENT] == 3
    assert await session.outbox.next() == Skipped(3)
    first = await session.outbox.next()
    assert isinstance(first, Reply) and first.piece == "3"


async def test_stalled_s_is_the_time_since_the_outbox_was_last_read():
    clock = FakeClock()
    session = Session(SessionParams(), clock)
    clock.advance(60)
    assert session.outbox.stalled_s(clock.now()) == 0, "the outbox is empty"
    session.push_reply(reply())
    session.push_reply(reply())
    clock.advance(3)
    assert session.outbox.stalled_s(clock.now()) == pytest.approx(3)
    await session.outbox.next()
    assert session.outbox.stalled_s(clock.now()) == 0


async def test_stats_are_means_since_the_previous_stats():
    session = new_session()
    session.send_stats()
    assert await sent_items(session) == []
    session.push_reply(reply())
    await session.outbox.next()
    session.send_stats()
    session.send_stats()
    assert await sent_items(session) == [Stats(step_ms=4.0, wait_ms=2.0, delay_ms=0.0)]


@pytest.mark.parametrize(
    ("max_steps", "max_call_s", "frames"), [(3, None, 3), (None, 0.4, 5), (3, 0.4, 3), (9, 0.4, 5)]
)
async def test_session_ends_at_the_shorter_of_its_two_limits(
    max_steps: int | None, max_call_s: float | None, frames: int
):
    session = new_session(max_call_s, max_steps=max_steps)
    session.open()
    for _ in range(frames - 1):
        session.push_reply(reply())
    assert session.ended is None
    session.push_reply(reply())
    assert isinstance(session.ended, LimitReached)
    assert len([item for item in await sent_items(session) if isinstance(item, Reply)]) == frames
