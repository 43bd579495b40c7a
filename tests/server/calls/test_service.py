"""Admission, the queue and the end of calls, with a real engine thread and no sockets."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

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
from tests.fakes import FakeClock, FakeConnection, TalkingRunner
from tests.server.chat_client import TIMEOUT_S, speech, wait_until


@asynccontextmanager
async def running_service(
    runner: TalkingRunner, clock: FakeClock | None = None, **settings: object
) -> AsyncIterator[Service]:
    """A service that is ready, until the block is left."""
    chosen = Settings(model="echo", slots=runner.slots, **settings)  # type: ignore[arg-type]
    service = Service(chosen, lambda: runner, clock)
    service.start()
    await wait_until(lambda: service.status == "ready")
    yield service
    service.stop()


def admit(service: Service, events: bool = True) -> tuple[Session, Callable[[], None]]:
    """A new session, and the function with which its connection leaves it. Raises Refused."""
    connection = FakeConnection(service.calls.admit(SessionParams(), events))
    return connection.session, connection.release


async def position(session: Session) -> int:
    """The position in the next queue event of `session`."""
    event = await session.outbox.next()
    assert isinstance(event, Queued)
    return event.position


async def test_queued_sessions_get_slots_in_order_of_arrival():
    async with running_service(TalkingRunner(1)) as service:
        callers = [admit(service) for _ in range(4)]
        (first, leave_first), (second, leave_second), (third, leave_third), (fourth, leave_fourth) = callers
        await wait_until(lambda: first.state is SessionState.RUNNING)
        assert [await position(session) for session in (second, third, fourth)] == [1, 2, 3]
        leave_second()  # it leaves the queue
        assert [await position(session) for session in (third, fourth)] == [1, 2]
        leave_first()
        await wait_until(lambda: third.state is SessionState.RUNNING)
        assert await position(fourth) == 1
        assert (service.running, service.waiting) == (1, 1)
        for leave in (leave_third, leave_fourth):
            leave()
        await wait_until(lambda: {session.state for session, _ in callers} == {SessionState.CLOSED})
        assert (service.running, service.waiting) == (0, 0)


async def test_full_server_refuses_clients_that_cannot_wait_and_those_beyond_the_queue():
    async with running_service(TalkingRunner(1), max_waiting=1) as service:
        admitted = [admit(service)[1]]
        with pytest.raises(ServerFull, match="in use"):
            admit(service, events=False)
        admitted.append(admit(service)[1])
        with pytest.raises(ServerFull, match="queue is full"):
            admit(service)
        assert service.metrics.refused.total() == 2
        for leave in admitted:
            leave()


async def test_freed_slot_goes_to_the_queue_before_a_new_client():
    async with running_service(TalkingRunner(1)) as service:
        _, leave_first = admit(service)
        second, leave_second = admit(service)
        leave_first()
        with pytest.raises(ServerFull):
            admit(service, events=False)
        await wait_until(lambda: second.state is SessionState.RUNNING)
        with pytest.raises(ServerFull):
            admit(service, events=False)
        leave_second()


async def test_random_arrivals_and_departures_lose_no_slot():
    runner, generator = TalkingRunner(3), random.Random(3)
    async with running_service(runner) as service:

        async def caller() -> None:
            await asyncio.sleep(generator.random() * 0.05)
            with service.calls.admit(SessionParams(), may_wait=True) as session:
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


async def test_slot_of_a_lost_call_goes_to_the_queue_before_a_new_client():
    async with running_service(TalkingRunner(1)) as service:
        first, leave_first = admit(service)
        await wait_until(lambda: first.state is SessionState.RUNNING)
        second, leave_second = admit(service)
        first.ready_at = service.clock.now()
        first.on_connection_closed(
            first.outbox, ConnectionLost("The connection is lost.")
        )  # its connection has not left yet
        with pytest.raises(ServerFull):
            admit(service, events=False)
        leave_first()
        await wait_until(lambda: second.state is SessionState.RUNNING)
        leave_second()


async def test_check_integrity_finds_a_slot_that_is_lost():
    async with running_service(TalkingRunner(2)) as service:
        _, leave = admit(service)
        await service.check_integrity()
        stray = Session(SessionParams(), service.clock)
        service._submit(OpenSession(stray))  # past admission, which does not count it
        with pytest.raises(AssertionError, match="held by other sessions"):
            await service.check_integrity()
        stray.end(ClientClosed("It was never admitted."))
        service._submit(CloseSession(stray))
        service.calls.admission._free -= 1
        with pytest.raises(AssertionError, match="0 of 2 slots free, 1 held"):
            await service.check_integrity()
        service.calls.admission._free += 1
        leave()


async def test_calls_are_refused_before_the_model_is_ready():
    service = Service(Settings(model="echo", slots=1), lambda: TalkingRunner(1))
    with pytest.raises(ServerStarting):
        admit(service)


async def test_draining_service_ends_calls_and_refuses_new_ones():
    async with running_service(TalkingRunner(1)) as service:
        session, leave = admit(service)
        draining = asyncio.create_task(service.drain(grace_s=0))
        why = await session.outbox.wait_closed()
        assert (why.code, why.close_code) == ("restarting", 1012)
        with pytest.raises(ServerStopping):
            admit(service)
        assert not draining.done()
        leave()
        await draining


async def test_engine_failure_ends_every_call_with_engine_failed():
    def fail_step() -> None:
        raise RuntimeError("the device fell off the bus")

    async with running_service(TalkingRunner(2, before_step=fail_step)) as service:
        callers = [admit(service) for _ in range(3)]
        callers[0][0].push_frame(speech(1)[0])
        assert all([isinstance(await session.outbox.wait_closed(), EngineFailed) for session, _ in callers])
        assert (service.status, service.reason) == ("failed", "the device fell off the bus")
        assert service.failed.is_set()
        for _, leave in callers:
            leave()


async def test_call_with_non_finite_output_ends_alone_and_is_counted_once():
    runner = TalkingRunner(2)
    runner.broken.add(1)
    async with running_service(runner) as service:
        (healthy, leave_healthy), (broken, leave_broken) = (admit(service) for _ in range(2))
        await wait_until(lambda: broken.state is SessionState.RUNNING)
        for session in (healthy, broken, broken):
            session.push_frame(speech(1)[0])
        assert isinstance(await broken.outbox.wait_closed(), NonFiniteOutput)
        await wait_until(lambda: len(runner.batches) == 2 and healthy.counts[Count.FRAMES] == 1)
        leave_broken()
        await wait_until(lambda: service.running == 1)
        assert (service.counts[Count.CALLS_NON_FINITE], broken.counts[Count.FRAMES]) == (1, 0)
        assert healthy.state is SessionState.RUNNING
        leave_healthy()


async def test_inactive_calls_end_after_their_timeouts():
    limits = Settings(model="echo", first_audio_s=30, quiet_s=120, stalled_s=10)
    async with running_service(TalkingRunner(3)) as service:
        callers = [admit(service) for _ in range(3)]
        sessions = [session for session, _ in callers]
        await wait_until(lambda: all(session.state is SessionState.RUNNING for session in sessions))
        never_spoke, quiet, never_read = sessions
        now = service.clock.now()
        for session in (never_spoke, quiet):
            await session.outbox.next()
            session.ready_at = now
        quiet.last_audio_at = now
        service.calls.check(never_spoke, now + limits.first_audio_s - 1)
        service.calls.check(quiet, now + limits.quiet_s - 1)
        service.calls.check(never_read, now + limits.stalled_s - 1)
        assert [session.ended for session in sessions] == [None] * 3
        for session in (never_spoke, quiet):
            while not session.outbox.is_empty:
                await session.outbox.next()
        service.calls.check(never_spoke, now + limits.first_audio_s + 1)
        service.calls.check(quiet, now + limits.quiet_s + 1)
        service.calls.check(never_read, now + limits.stalled_s + 1)
        assert [type(session.ended) for session in sessions] == [NoAudioTimeout, IdleTimeout, NotListening]
        for _, leave in callers:
            leave()


async def test_time_in_the_queue_does_not_count_as_call_length():
    clock = FakeClock()
    async with running_service(TalkingRunner(1), clock) as service:
        _, leave_first = admit(service)
        second, leave_second = admit(service)
        clock.advance(600)
        leave_first()
        await wait_until(lambda: second.state is SessionState.RUNNING)
        second.ready_at = clock.now()
        clock.advance(60)
        leave_second()
        assert list(service.calls.admission._queue._lengths_s) == [60]


async def test_log_has_the_notice_of_the_model(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "server")
    async with running_service(TalkingRunner(1)) as service:
        [ready] = [record for record in caplog.records if record.message == "ready"]
        assert vars(ready)["notice"] == service.card.notice != ""
