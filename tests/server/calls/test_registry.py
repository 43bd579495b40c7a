"""Calls that are lost, taken over, taken up again, expired and evicted, at random, with a real engine thread."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from server.calls.service import Service
from server.errors import CannotResume, ClientClosed, ConnectionLost
from server.events import Ready
from server.metrics import Count
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeClock, TalkingRunner
from tests.server.calls.test_service import reception_of
from tests.server.chat_client import TIMEOUT_S, speech, wait_until

CALLERS = 120


@dataclass
class WaitingQueue:
    """One socket's time with a session, without the socket."""

    door: AbstractContextManager[Session]

    def __post_init__(self) -> None:
        self.session = self.door.__enter__()
        self.outbox = self.session.outbox

    def hang_up(self, why: ClientClosed) -> None:
        self.session.hang_up(self.outbox, why)
        self.door.__exit__(None, None, None)

    async def token(self) -> str | None:
        """Wait for the greeting: what the call can be taken up again with; None if it is over before."""
        while (item := await self.outbox.next()) is not None:
            if isinstance(item, Ready):
                return item.resume_token
        return None


class Callers:
    """Callers who do as they like."""

    def __init__(self, service: Service, clock: FakeClock, seed: int) -> None:
        self.refused = 0
        self._calls, self._clock, self._random = service.calls, clock, random.Random(seed)

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * 0.01)
        self._clock.advance(self._random.random() * 2)

    async def caller(self) -> None:
        await self._pause()
        line = WaitingQueue(self._calls.admit(SessionParams(), wants_events=True))
        try:
            while (token := await line.token()) and self._random.random() < 0.8:
                line.session.greeted_at = line.session.greeted_at or self._clock.now()
                line.session.push_frame(speech(1)[0])
                await self._pause()
                if self._random.random() < 0.3:  # back before the old line is known to be dead
                    back = WaitingQueue(self._calls.resume(token))
                    line.hang_up(ConnectionLost("The line is dead."))
                    line = back
                else:
                    line.hang_up(ConnectionLost("The line is dead."))
                    await self._pause()
                    line = WaitingQueue(self._calls.resume(token))
        except CannotResume:
            self.refused += 1
        else:
            line.hang_up(ClientClosed("Goodbye."))


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_callers_do_no_slot_is_lost_and_every_break_is_accounted_for(seed: int):
    clock = FakeClock()
    async with reception_of(TalkingRunner(3), clock, resume_s=25, stalled_s=1e6, max_waiting=CALLERS) as service:
        crowd = Callers(service, clock, seed)
        async with asyncio.timeout(TIMEOUT_S):
            crowding = asyncio.gather(*(crowd.caller() for _ in range(CALLERS)))
            while not crowding.done():
                await service.check_integrity()
                for session in service.calls.admission:
                    service.calls.look_after(session, clock.now())
                await asyncio.sleep(0.002)
            await crowding
        await service.check_integrity()
        assert (service.running, service.parked, service.waiting) == (0, 0, 0)
        counts = service.counts
        assert counts[Count.SESSIONS_ENDED] == CALLERS and counts[Count.CALLS_RESUMED] > 10
        assert (
            counts[Count.CALLS_LOST]
            == counts[Count.CALLS_RESUMED] + counts[Count.CALLS_EXPIRED] + counts[Count.CALLS_EVICTED]
        )
        assert crowd.refused == counts[Count.CALLS_EXPIRED] + counts[Count.CALLS_EVICTED] > 0
        assert not service.calls._tokens._holders and not service.calls._tokens._newest
        await wait_until(lambda: not service._engine._slots.seated())
