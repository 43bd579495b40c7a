"""A session that is parked after its connection was lost, and resumed over another one."""

from __future__ import annotations

import pytest

from server.audio.framing import FRAME_S
from server.errors import CallEnded, ClientClosed, ConnectionLost, LimitReached, Restarting, TakenOver
from server.events import Ready, Skipped
from server.metrics import Count
from server.sessions.params import SessionParams
from server.sessions.session import Session, SessionState
from server.settings import Settings
from tests.fakes import FakeClock
from tests.server.chat_client import speech
from tests.server.sessions.test_session import events, reply, sent_items


def parked(clock: FakeClock, **choices: object) -> Session:
    """A parked session, whose connection was lost after the handshake."""
    session = Session(SessionParams(**choices), clock, resume_s=20)  # type: ignore[arg-type]
    session.open("token")
    session.ready_at = clock.now()
    session.on_connection_closed(session.outbox, ConnectionLost("gone"))
    assert session.state is SessionState.PARKED
    return session


@pytest.mark.parametrize(
    ("resume_s", "after_handshake", "why"),
    [(0, True, ConnectionLost("gone")), (20, False, ConnectionLost("gone")), (20, True, ClientClosed("bye"))],
    ids=["without events", "before the handshake", "closed by its client"],
)
def test_session_that_cannot_be_resumed_drains_instead_of_parking(
    resume_s: float, after_handshake: bool, why: CallEnded
):
    clock = FakeClock()
    session = Session(SessionParams(), clock, resume_s=resume_s)
    session.open()
    session.ready_at = clock.now() if after_handshake else None
    session.on_connection_closed(session.outbox, why)
    assert session.ended is why and session.state is SessionState.DRAINING


async def test_frames_lost_at_a_break_are_counted_and_sent_as_skipped():
    clock = FakeClock()
    session = Session(SessionParams(), clock, resume_s=20)
    session.open("first")
    session.ready_at = clock.now()
    for frame in speech(3):
        session.push_frame(frame)
    session.push_reply(reply("unsent"))
    lost = session.outbox
    session.on_connection_closed(lost, ConnectionLost("gone"))
    session.push_reply(reply("of the running step"))
    assert await lost.next() is None and isinstance(await lost.wait_closed(), ConnectionLost)
    assert (session.counts[Count.FRAMES_UNSENT], session.counts[Count.FRAMES_SKIPPED]) == (2, 3)
    clock.advance(4)
    session.resume("second")
    ready, skip = await sent_items(session)
    assert ready == Ready(session.id, seed=0, resume_token="second", resume_s=16.02, gap_s=4.0)
    assert skip == Skipped(5)
    session.on_connection_closed(lost, ClientClosed("the old connection closes late"))
    assert session.state is SessionState.RUNNING


async def test_ready_event_has_the_time_left_after_the_start_and_after_a_resume():
    session = Session(SessionParams(), FakeClock(), max_call_s=60, resume_s=20)
    session.open("token")
    [first] = await sent_items(session)
    assert isinstance(first, Ready) and first.left_s == 60
    session.ready_at = 0.0
    for _ in range(125):
        session.push_reply(reply())
    session.on_connection_closed(session.outbox, ConnectionLost("gone"))
    session.resume("another")
    [again, *_] = await sent_items(session)
    assert isinstance(again, Ready) and again.left_s == 50


async def test_second_resume_does_not_repeat_the_skipped_frames_of_the_first():
    session = parked(FakeClock())
    session.push_reply(reply())
    session.resume("second")
    assert [type(event) for event in await events(session)] == [Ready, Skipped]
    session.on_connection_closed(session.outbox, ConnectionLost("again"))
    session.resume("third")
    assert [type(event) for event in await events(session)] == [Ready]


async def test_skipped_frames_are_sent_later_if_the_next_connection_is_lost_at_once():
    session = parked(FakeClock())
    session.push_reply(reply())
    for token in ("second", "third"):
        session.resume(token)
        session.on_connection_closed(session.outbox, ConnectionLost("at once"))
    session.resume("fourth")
    assert (await sent_items(session))[1:] == [Skipped(1)]


def slot_held_s(session: Session, clock: FakeClock, talk_s: float, break_s: float) -> float:
    """How long a session lives that talks and breaks by turns, as long as it is let."""
    limits, began_at = Settings(model="echo"), clock.now()
    session.open("token")
    session.ready_at = clock.now()
    while not session.ended and clock.now() - began_at < 1000:
        session.push_frame(speech(1)[0])
        for _ in range(round(talk_s / FRAME_S)):
            session.push_reply(reply())
        clock.advance(talk_s)
        if session.ended:
            break
        session.on_connection_closed(session.outbox, ConnectionLost("gone"))
        for _ in range(round(break_s / 0.5)):
            clock.advance(0.5)
            if (why := session.expiry(clock.now(), limits)) and not session.ended:
                session.end(why)
        if not session.ended:
            session.resume("another")
    return clock.now() - began_at


def test_call_that_parks_again_and_again_holds_its_slot_no_longer_than_its_length_and_one_break():
    clock = FakeClock()
    session = Session(SessionParams(), clock, max_call_s=2, resume_s=20)
    assert slot_held_s(session, clock, talk_s=0.16, break_s=5) <= 2 + 20 + 0.2 + 5


def test_long_call_may_lose_its_connection_often():
    clock = FakeClock()
    session = Session(SessionParams(), clock, max_call_s=600, resume_s=20)
    assert slot_held_s(session, clock, talk_s=20, break_s=2) >= 600
    assert isinstance(session.ended, LimitReached)


@pytest.mark.parametrize("takes_over", [False, True], ids=["by slow frames", "by taking over its own connection"])
def test_call_cannot_stretch_its_length(takes_over: bool):
    clock = FakeClock()
    session = Session(SessionParams(), clock, max_call_s=2, resume_s=20)
    session.open("token")
    began_at = session.ready_at = clock.now()
    while not session.ended and clock.now() - began_at < 60:
        session.push_frame(speech(1)[0])
        session.push_reply(reply())
        for _ in range(10):
            clock.advance(0.38)  # before silence is filled in
            if takes_over:
                session.park(TakenOver("taken over"))
                session.resume("another")
        if why := session.expiry(clock.now(), Settings(model="echo")):
            session.end(why)
    assert isinstance(session.ended, LimitReached) and clock.now() - began_at < 12


def test_time_parked_does_not_count_as_call_time():
    clock = FakeClock()
    session = Session(SessionParams(), clock, resume_s=20)
    session.open()
    session.ready_at = clock.now()
    clock.advance(5)
    session.push_frame(speech(1)[0])
    clock.advance(1)
    session.park(ConnectionLost("gone"))
    clock.advance(15)
    session.resume("token")
    assert clock.now() - session.ready_at == 6 and session.last_audio_at is not None
    assert clock.now() - session.last_audio_at == 1


async def test_session_that_reached_its_limit_while_parked_ends_when_it_is_resumed():
    session = parked(FakeClock(), max_steps=1)
    session.push_reply(reply())
    assert session.ended is None, "the client can still resume, and is told of the limit then"
    session.resume("token")
    assert isinstance(session.ended, LimitReached)
    assert [type(event) for event in await events(session)] == [Ready, Skipped]


def test_parked_session_that_ends_drains():
    session = parked(FakeClock())
    session.end(Restarting("going down"))
    assert session.state is SessionState.DRAINING
    session.close()
