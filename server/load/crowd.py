"""Callers of one process: each calls, hangs up, thinks, and calls again, until it is told to leave.

Owner: one event loop. Knows what callers do and for how long; knows no statistics and no other process.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode, urlsplit, urlunsplit

from server.audio.framing import FRAME_S
from server.dialects.kyutai_protocol import AudioForm
from server.load.call import Call, Errand
from server.load.record import CallRecord
from server.load.troubles import Cut, Faults, Trouble

REDIALS_AFTER_S = 1.0  # at least, when a call failed: nobody presses the button a thousand times a second
DIALS_PER_S = 100.0  # when many callers come at once
_NO_FAULTS = Faults()
_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, less their whole part, are spread evenly however many there are


@dataclass(frozen=True, slots=True)
class Mix:
    """Lengths in seconds: each is drawn from one of these ranges, all alike."""

    ranges_s: tuple[tuple[float, float], ...]

    def draw(self, dice: random.Random) -> float:
        return dice.uniform(*dice.choice(self.ranges_s))

    @property
    def longest_s(self) -> float:
        return max(most for _, most in self.ranges_s)

    def __str__(self) -> str:
        return ",".join(f"{a:g}" if a == b else f"{a:g}..{b:g}" for a, b in self.ranges_s)


@dataclass(frozen=True, slots=True)
class Habits:
    """What the callers of a run do. Caller k's k-th choice is the same in every run."""

    url: str
    talk: Mix
    speeches: Sequence[Sequence[list[bytes]]]  # caller k has the k-th, going round
    forms: Sequence[AudioForm] = (AudioForm.OGG,)  # so too
    think: Mix = Mix(((0, 0),))
    is_once: bool = False  # one call each
    faults: Faults = _NO_FAULTS
    headers: Mapping[str, str] = field(default_factory=dict)


class Crowd:
    """`resize` says who shall be there; `take` gives what has happened since the last time."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._wanted: set[int] = set()
        self._lives: dict[int, asyncio.Task[None]] = {}  # who is there, or is about to leave
        self._calls: dict[int, Call] = {}  # by caller: the one under way
        self._records: dict[int, CallRecord] = {}  # by the number of the call, until it was told that it is over
        self._dialled = 0

    @property
    def callers(self) -> int:
        """Who is there, and who has not quite left."""
        return len(self._lives)

    def resize(self, callers: Iterable[int]) -> None:
        """Let these callers be there, and no others: new ones dial within moments, others hang up."""
        self._wanted = set(callers)
        come = self._wanted - self._lives.keys()
        spread_s = max(FRAME_S, len(come) / DIALS_PER_S)
        for caller in come:
            life = asyncio.create_task(self._live(caller, after_s=spread_s * _spread(caller)))
            life.add_done_callback(lambda _, caller=caller: self._lives.pop(caller))
            self._lives[caller] = life
        for caller in self._lives.keys() - self._wanted:
            if call := self._calls.get(caller):
                call.hang_up()
            else:
                self._lives[caller].cancel()

    @property
    def calls(self) -> int:
        """Those under way, and those of whose end was not told yet."""
        return len(self._records)

    def take(self, part: int = 0, parts: int = 1) -> list[tuple[int, CallRecord]]:
        """What is new of each call, by its number; or of a part of them, so that it does not take long at once."""
        taken = [(number, record.take()) for number, record in self._records.items() if number % parts == part]
        for number, record in taken:
            if record.over_at is not None:
                del self._records[number]
        return taken

    async def _live(self, caller: int, after_s: float) -> None:
        dice = random.Random(caller)
        await asyncio.sleep(after_s)
        while caller in self._wanted:
            failed = await self._talk(caller, dice)
            if self._habits.is_once:
                return
            await asyncio.sleep(max(self._habits.think.draw(dice), REDIALS_AFTER_S * failed))

    async def _talk(self, caller: int, dice: random.Random) -> bool:
        """One conversation, over several lines if its line is cut and its caller reconnects; whether it failed."""
        habits = self._habits
        speech = habits.speeches[caller % len(habits.speeches)]
        errand = Errand(
            url=habits.url,
            form=habits.forms[caller % len(habits.forms)],
            speech=speech,
            frames=max(1, round(habits.talk.draw(dice) / FRAME_S)),
            starts_at=int(len(speech) * _spread(caller)),
            phase_s=FRAME_S * dice.random(),
            headers=habits.headers,
        )
        is_resumed = False
        while True:
            call = await self._call(caller, errand, Trouble(habits.faults, dice.getrandbits(32)), is_resumed)
            if call.cut is not Cut.RECONNECTS or call.spoken_frames >= errand.frames or caller not in self._wanted:
                return call.record.failure is not None
            is_resumed = call.resume is not None
            left = errand.frames - call.spoken_frames
            errand = replace(errand, url=_resuming(habits.url, call.resume), frames=left)

    async def _call(self, caller: int, errand: Errand, trouble: Trouble, is_resumed: bool) -> Call:
        is_troubled = self._habits.faults.befall(caller)
        record = CallRecord(caller, is_troubled, is_resumed=is_resumed)
        call = Call(errand, record, trouble if is_troubled else None)
        self._records[self._dialled] = record
        self._dialled += 1
        self._calls[caller] = call
        try:
            await call.talk()
        finally:
            del self._calls[caller]
        return call


def _spread(caller: int) -> float:
    """A place in 0 … 1 for each caller, evenly apart however many they are."""
    return caller * _GOLDEN % 1


def _resuming(url: str, token: str | None) -> str:
    """The address that goes on with a conversation, or the plain one, which begins another."""
    if token is None:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, urlencode({"resume": token})]))))
