"""Who is let in and in which order, with a real engine thread and no sockets."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

import pytest

from server.calls.service import Service
from server.engine.bridge import CloseSession, OpenSession
from server.errors import (
    ClientClosed,
    ConnectionLost,
    EngineFailed,
    IdleTimeout,
    NoAudioTimeout,
    NonFiniteOutput,
    NotListening,
    ServerFull,
    ServerStarting,
    ServerStopping,
)
from server.events import Queued
from server.metrics import Count
from server.sessions.params import SessionParams
from server.sessions.session import Session, SessionState
from server.settings import Settings
from tests.fakes import FakeClock, TalkingRunner
from tests.server.chat_client import TIMEOUT_S, speech, wait_until


@asynccontextmanager
async def reception_of(
    runner: TalkingRunner, clock: FakeClock | None = None, **settings: object
) -> AsyncIterator[Service]:
    chosen = Settings(model="echo", slots=runner.slots, **settings)  # type: ignore[arg-type]
    service = Service(chosen, lambda: runner, clock)
    service.start()
    await wait_until(lambda: service.status == "ready")
    yield service
    service.stop()


def admit(service: Service, events: bool = True) -> tuple[Session, AbstractContextManager[Session]]:
    door = service.calls.admit(SessionParams(), events)
    return door.__enter__(), door


async def place(session: Session) -> int:
    event = await session.outbox.next()
    assert isinstance(event, Queued)
    return event.position


async def test_first_come_first_served():
    async with reception_of(TalkingRunner(1)) as service:
        callers = [admit(service) for _ in range(4)]
        (first, first_door), (second, second_door), (third, third_door), (fourth, fourth_door) = callers
        await wait_until(lambda: first.state is SessionState.RUNNING)
        assert [await place(session) for session in (second, third, fourth)] == [1, 2, 3]
        second_door.__exit__(None, None, None)  # gives up
        assert [await place(session) for session in (third, fourth)] == [1, 2]
        first_door.__exit__(None, None, None)
        await wait_until(lambda: third.state is SessionState.RUNNING)
        assert await place(fourth) == 1
        assert (service.running, service.waiting) == (1, 1)
        for door in (third_door, fourth_door):
            door.__exit__(None, None, None)
        await wait_until(lambda: {session.state for session, _ in callers} == {SessionState.CLOSED})
        assert (service.running, service.waiting) == (0, 0)


async def test_a_full_server_says_so_to_those_who_cannot_wait_and_to_those_beyond_the_line():
    async with reception_of(TalkingRunner(1), max_waiting=1) as service:
        policy = [admit(service)[1]]
        with pytest.raises(ServerFull, match="busy"):
            admit(service, events=False)
        policy.append(admit(service)[1])
        with pytest.raises(ServerFull, match="line is full"):
            admit(service)
        assert service.metrics.refused.total() == 2
        for door in policy:
            door.__exit__(None, None, None)


async def test_a_slot_promised_to_one_in_line_is_not_given_to_one_at_the_door():
    async with reception_of(TalkingRunner(1)) as service:
        _, first_door = admit(service)
        second, second_door = admit(service)
        first_door.__exit__(None, None, None)
        with pytest.raises(ServerFull):
            admit(service, events=False)
        await wait_until(lambda: second.state is SessionState.RUNNING)
        with pytest.raises(ServerFull):
            admit(service, events=False)
        second_door.__exit__(None, None, None)


async def test_coming_and_going_at_random_loses_no_slot():
    runner, generator = TalkingRunner(3), random.Random(3)
    async with reception_of(runner) as service:

        async def caller() -> None:
            await asyncio.sleep(generator.random() * 0.05)
            with service.calls.admit(SessionParams(), wants_events=True) as session:
                if generator.random() < 0.7:
                    await wait_until(lambda: session.state is SessionState.RUNNING)
                    session.push_frame(speech(1)[0])
                await asyncio.sleep(generator.random() * 0.01)

        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(caller() for _ in range(32)))
        await wait_until(lambda: service.running == 0)
        assert (service.running, service.waiting, service.parked) == (0, 0, 0)
        await service.check_integrity()
        assert {slot for slot, _ in runner.started} <= {0, 1, 2}
        gc.collect()
        assert not service.calls.admission


async def test_a_slot_whose_caller_is_lost_goes_to_the_line_and_not_to_one_at_the_door():
    async with reception_of(TalkingRunner(1)) as service:
        first, first_door = admit(service)
        await wait_until(lambda: first.state is SessionState.RUNNING)
        second, second_door = admit(service)
        first.greeted_at = service.clock.now()
        first.hang_up(first.outbox, ConnectionLost("The line is dead."))  # its connection has yet to notice
        with pytest.raises(ServerFull):
            admit(service, events=False)
        first_door.__exit__(None, None, None)
        await wait_until(lambda: second.state is SessionState.RUNNING)
        second_door.__exit__(None, None, None)


async def test_a_slot_that_is_lost_is_noticed():
    async with reception_of(TalkingRunner(2)) as service:
        _, door = admit(service)
        await service.check_integrity()
        stray = Session(SessionParams(), service.clock)
        service._submit(OpenSession(stray))  # behind the back of those who count
        with pytest.raises(AssertionError, match="held by others"):
            await service.check_integrity()
        stray.end(ClientClosed("It was never there."))
        service._submit(CloseSession(stray))
        service.calls.admission._free -= 1
        with pytest.raises(AssertionError, match="0 of 2 slots free, 1 held"):
            await service.check_integrity()
        service.calls.admission._free += 1
        door.__exit__(None, None, None)


async def test_nobody_is_let_in_before_the_model_is_warm():
    service = Service(Settings(model="echo", slots=1), lambda: TalkingRunner(1))
    with pytest.raises(ServerStarting):
        admit(service)


async def test_a_server_that_stops_ends_calls_and_takes_none():
    async with reception_of(TalkingRunner(1)) as service:
        session, door = admit(service)
        draining = asyncio.create_task(service.drain(grace_s=0))
        why = await session.outbox.wait_closed()
        assert (why.code, why.close_code) == ("restarting", 1012)
        with pytest.raises(ServerStopping):
            admit(service)
        assert not draining.done()
        door.__exit__(None, None, None)
        await draining


async def test_a_failure_of_the_engine_ends_every_call_with_its_fault():
    def fall() -> None:
        raise RuntimeError("the device fell off the bus")

    async with reception_of(TalkingRunner(2, before_step=fall)) as service:
        callers = [admit(service) for _ in range(3)]
        callers[0][0].push_frame(speech(1)[0])
        assert all([isinstance(await session.outbox.wait_closed(), EngineFailed) for session, _ in callers])
        assert (service.status, service.reason) == ("failed", "the device fell off the bus")
        assert service.failed.is_set()
        for _, door in callers:
            door.__exit__(None, None, None)


async def test_a_call_that_breaks_ends_alone_and_is_counted_once():
    runner = TalkingRunner(2)
    runner.broken.add(1)
    async with reception_of(runner) as service:
        (sound, sound_door), (broken, broken_door) = (admit(service) for _ in range(2))
        await wait_until(lambda: broken.state is SessionState.RUNNING)
        for session in (sound, broken, broken):
            session.push_frame(speech(1)[0])
        assert isinstance(await broken.outbox.wait_closed(), NonFiniteOutput)
        await wait_until(lambda: len(runner.batches) == 2 and sound.counts[Count.FRAMES] == 1)
        broken_door.__exit__(None, None, None)
        await wait_until(lambda: service.running == 1)
        assert (service.counts[Count.CALLS_NON_FINITE], broken.counts[Count.FRAMES]) == (1, 0)
        assert sound.state is SessionState.RUNNING
        sound_door.__exit__(None, None, None)


async def test_calls_that_nobody_takes_part_in_are_ended():
    limits = Settings(model="echo", first_audio_s=30, quiet_s=120, stalled_s=10)
    async with reception_of(TalkingRunner(3)) as service:
        callers = [admit(service) for _ in range(3)]
        sessions = [session for session, _ in callers]
        await wait_until(lambda: all(session.state is SessionState.RUNNING for session in sessions))
        silent, quiet, deaf = sessions
        now = service.clock.now()
        for session in (silent, quiet):
            await session.outbox.next()
            session.greeted_at = now
        quiet.heard_at = now
        service.calls.look_after(silent, now + limits.first_audio_s - 1)
        service.calls.look_after(quiet, now + limits.quiet_s - 1)
        service.calls.look_after(deaf, now + limits.stalled_s - 1)
        assert [session.ended for session in sessions] == [None] * 3
        for session in (silent, quiet):
            while not session.outbox.is_empty:
                await session.outbox.next()
        service.calls.look_after(silent, now + limits.first_audio_s + 1)
        service.calls.look_after(quiet, now + limits.quiet_s + 1)
        service.calls.look_after(deaf, now + limits.stalled_s + 1)
        assert [type(session.ended) for session in sessions] == [NoAudioTimeout, IdleTimeout, NotListening]
        for _, door in callers:
            door.__exit__(None, None, None)


async def test_time_in_line_is_no_time_of_a_call():
    clock = FakeClock()
    async with reception_of(TalkingRunner(1), clock) as service:
        _, first_door = admit(service)
        second, second_door = admit(service)
        clock.advance(600)
        first_door.__exit__(None, None, None)
        await wait_until(lambda: second.state is SessionState.RUNNING)
        second.greeted_at = clock.now()
        clock.advance(60)
        second_door.__exit__(None, None, None)
        assert list(service.calls.admission._line._lengths_s) == [60]


async def test_the_log_says_what_kind_of_model_answers(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "server")
    async with reception_of(TalkingRunner(1)) as service:
        [ready] = [record for record in caplog.records if record.message == "ready"]
        assert vars(ready)["notice"] == service.card.notice != ""
