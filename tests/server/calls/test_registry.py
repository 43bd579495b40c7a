"""Calls that are lost, taken over, taken up again, expired and evicted, at random, with a real engine thread."""

from __future__ import annotations

import asyncio
import random

import pytest

from server.calls.service import Service
from server.errors import CannotResume, ClientClosed, ConnectionLost
from server.events import Ready
from server.metrics import Count
from server.sessions.params import SessionParams
from tests.fakes import FakeClock, FakeConnection, TalkingRunner
from tests.server.calls.test_service import running_service
from tests.server.chat_client import TIMEOUT_S, speech, wait_until

CALLERS = 120


async def resume_token(connection: FakeConnection) -> str | None:
    """Wait for the token in the ready event; None if the session ends first."""
    while (item := await connection.outbox.next()) is not None:
        if isinstance(item, Ready):
            return item.resume_token
    return None


class RandomCallers:
    """Callers that speak, lose their connections, resume and hang up at random."""

    def __init__(self, service: Service, clock: FakeClock, seed: int) -> None:
        self.refused = 0
        self._calls, self._clock, self._random = service.calls, clock, random.Random(seed)

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * 0.01)
        self._clock.advance(self._random.random() * 2)

    async def caller(self) -> None:
        await self._pause()
        connection = FakeConnection(self._calls.admit(SessionParams(), may_wait=True))
        try:
            while (token := await resume_token(connection)) and self._random.random() < 0.8:
                connection.session.ready_at = connection.session.ready_at or self._clock.now()
                connection.session.push_frame(speech(1)[0])
                await self._pause()
                if self._random.random() < 0.3:  # resume before the server notices the loss
                    resumed = FakeConnection(self._calls.resume(token))
                    connection.hang_up(ConnectionLost("The connection is lost."))
                    connection = resumed
                else:
                    connection.hang_up(ConnectionLost("The connection is lost."))
                    await self._pause()
                    connection = FakeConnection(self._calls.resume(token))
        except CannotResume:
            self.refused += 1
        else:
            connection.hang_up(ClientClosed("Closed."))


@pytest.mark.parametrize("seed", range(4))
async def test_random_breaks_and_resumes_lose_no_slot_and_are_all_counted(seed: int):
    clock = FakeClock()
    async with running_service(TalkingRunner(3), clock, resume_s=25, stalled_s=1e6, max_waiting=CALLERS) as service:
        callers = RandomCallers(service, clock, seed)
        async with asyncio.timeout(TIMEOUT_S):
            running = asyncio.gather(*(callers.caller() for _ in range(CALLERS)))
            while not running.done():
                await service.check_integrity()
                for session in service.calls.admission:
                    service.calls.check(session, clock.now())
                await asyncio.sleep(0.002)
            await running
        await service.check_integrity()
        assert (service.running, service.parked, service.waiting) == (0, 0, 0)
        counts = service.counts
        assert counts[Count.SESSIONS_ENDED] == CALLERS and counts[Count.CALLS_RESUMED] > 10
        assert (
            counts[Count.CALLS_LOST]
            == counts[Count.CALLS_RESUMED] + counts[Count.CALLS_EXPIRED] + counts[Count.CALLS_EVICTED]
        )
        assert callers.refused == counts[Count.CALLS_EXPIRED] + counts[Count.CALLS_EVICTED] > 0
        assert not service.calls._tokens._holders and not service.calls._tokens._newest
        await wait_until(lambda: not service._engine._slots.holders())
