"""Calls that are lost, taken over, taken up again, expired and evicted, at random, with a real engine thread."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from server.errors import CallerLeft, CallerLost, CannotResume
from server.params import SessionParams
from server.reception import Reception
from server.session import Session
from tests.fakes import FakeClock, TalkingRunner
from tests.server.phone import PATIENCE_S, speech, until
from tests.server.test_reception import reception_of

CALLERS = 120


@dataclass
class Line:
    """One socket's time with a session, without the socket."""

    door: AbstractContextManager[Session]

    def __post_init__(self) -> None:
        self.session = self.door.__enter__()
        self.outbox = self.session.outbox

    def hang_up(self, why: CallerLeft) -> None:
        self.session.hang_up(self.outbox, why)
        self.door.__exit__(None, None, None)

    async def token(self) -> str | None:
        """Wait for the greeting: what the call can be taken up again with; None if it is over before."""
        while (item := await self.outbox.next()) is not None:
            if isinstance(item, dict) and item["type"] == "ready":
                return item["resume"]
        return None


class Crowd:
    """Callers who do as they like."""

    def __init__(self, reception: Reception, clock: FakeClock, seed: int) -> None:
        self.refused = 0
        self._calls, self._clock, self._random = reception.calls, clock, random.Random(seed)

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * 0.01)
        self._clock.advance(self._random.random() * 2)

    async def caller(self) -> None:
        await self._pause()
        line = Line(self._calls.admit(SessionParams(), wants_events=True))
        try:
            while (token := await line.token()) and self._random.random() < 0.8:
                line.session.greeted_at = line.session.greeted_at or self._clock.now()
                line.session.offer(speech(1)[0])
                await self._pause()
                if self._random.random() < 0.3:  # back before the old line is known to be dead
                    back = Line(self._calls.resume(token))
                    line.hang_up(CallerLost("The line is dead."))
                    line = back
                else:
                    line.hang_up(CallerLost("The line is dead."))
                    await self._pause()
                    line = Line(self._calls.resume(token))
        except CannotResume:
            self.refused += 1
        else:
            line.hang_up(CallerLeft("Goodbye."))


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_callers_do_no_slot_is_lost_and_every_break_is_accounted_for(seed: int):
    clock = FakeClock()
    async with reception_of(TalkingRunner(3), clock, resume_s=25, stalled_s=1e6, max_waiting=CALLERS) as reception:
        crowd = Crowd(reception, clock, seed)
        async with asyncio.timeout(PATIENCE_S):
            crowding = asyncio.gather(*(crowd.caller() for _ in range(CALLERS)))
            while not crowding.done():
                await reception.check_integrity()
                for session in reception.calls.seats:
                    reception.calls.look_after(session, clock.now())
                await asyncio.sleep(0.002)
            await crowding
        await reception.check_integrity()
        assert (reception.running, reception.parked, reception.waiting) == (0, 0, 0)
        counts = reception.counts
        assert counts["calls"] == CALLERS and counts["resumed"] > 10
        assert counts["parked"] == counts["resumed"] + counts["expired"] + counts["evicted"]
        assert crowd.refused == counts["expired"] + counts["evicted"] > 0
        assert not reception.calls._tokens._holders and not reception.calls._tokens._newest
        await until(lambda: not reception._engine._slots.seated())
