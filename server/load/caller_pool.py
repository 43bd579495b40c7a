"""The callers of one process: each calls, hangs up, pauses and calls again, until it is told to leave.

Owner: one event loop. Knows what callers do and for how long; knows no statistics and no other process.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterable
from dataclasses import replace

from server.audio.framing import FRAME_S
from server.client.urls import resume_url
from server.load.call_record import CallRecord
from server.load.faults import Disconnect, FaultSchedule
from server.load.measured_call import CallSpec, MeasuredCall
from server.load.workload import Workload

MIN_RETRY_DELAY_S = 1.0  # after a failed call
CONNECTS_PER_S = 100.0  # when many callers start together
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2  # the fractional parts of its multiples are evenly spread, however many they are


class CallerPool:
    """`resize` sets which callers are active; `take` returns what was recorded since the last time."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._wanted: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}  # of callers that are active or about to leave
        self._running: dict[int, MeasuredCall] = {}  # by caller
        self._records: dict[int, CallRecord] = {}  # by the number of the call, until its end was taken
        self._calls_started = 0

    @property
    def callers(self) -> int:
        """Callers that are active or have not quite left."""
        return len(self._tasks)

    @property
    def calls(self) -> int:
        """Calls that are running or whose end was not taken yet."""
        return len(self._records)

    def resize(self, callers: Iterable[int]) -> None:
        """Make exactly these callers active: new ones connect within moments, the others hang up."""
        self._wanted = set(callers)
        new = self._wanted - self._tasks.keys()
        spread_s = max(FRAME_S, len(new) / CONNECTS_PER_S)
        for caller in new:
            task = asyncio.create_task(self._run_caller(caller, delay_s=spread_s * _spread(caller)))
            task.add_done_callback(lambda _, caller=caller: self._tasks.pop(caller))
            self._tasks[caller] = task
        for caller in self._tasks.keys() - self._wanted:
            if call := self._running.get(caller):
                call.hang_up()
            else:
                self._tasks[caller].cancel()

    def take(self, part: int = 0, parts: int = 1) -> list[tuple[int, CallRecord]]:
        """What is new of each call, by its number; or of one part of the calls, to keep each take short."""
        taken = [(number, record.take()) for number, record in self._records.items() if number % parts == part]
        for number, record in taken:
            if record.ended_at is not None:
                del self._records[number]
        return taken

    async def _run_caller(self, caller: int, delay_s: float) -> None:
        rng = random.Random(caller)
        await asyncio.sleep(delay_s)
        while caller in self._wanted:
            failed = await self._converse(caller, rng)
            if self._workload.is_single:
                return
            await asyncio.sleep(max(self._workload.think_time.draw(rng), MIN_RETRY_DELAY_S * failed))

    async def _converse(self, caller: int, rng: random.Random) -> bool:
        """One conversation, over several calls if its connection is dropped and resumed. Returns whether it failed."""
        workload = self._workload
        speech = workload.speeches[caller % len(workload.speeches)]
        spec = CallSpec(
            url=workload.url,
            form=workload.forms[caller % len(workload.forms)],
            speech=speech,
            frames=max(1, round(workload.call_length.draw(rng) / FRAME_S)),
            first_frame=int(len(speech) * _spread(caller)),
            microphone_phase_s=FRAME_S * rng.random(),
            headers=workload.headers,
        )
        is_resumed = False
        while True:
            call = await self._call(caller, spec, FaultSchedule(workload.faults, rng.getrandbits(32)), is_resumed)
            is_complete = call.spoken_frames >= spec.frames
            if call.disconnect is not Disconnect.RECONNECT or is_complete or caller not in self._wanted:
                return call.record.failure is not None
            is_resumed = call.resume_token is not None
            remaining = spec.frames - call.spoken_frames
            spec = replace(spec, url=resume_url(workload.url, call.resume_token), frames=remaining)

    async def _call(self, caller: int, spec: CallSpec, faults: FaultSchedule, is_resumed: bool) -> MeasuredCall:
        has_faults = self._workload.faults.applies_to(caller)
        record = CallRecord(caller, has_faults, is_resumed=is_resumed)
        call = MeasuredCall(spec, record, faults if has_faults else None)
        self._records[self._calls_started] = record
        self._calls_started += 1
        self._running[caller] = call
        try:
            await call.run()
        finally:
            del self._running[caller]
        return call


def _spread(caller: int) -> float:
    """A number in 0 … 1 for each caller, evenly spread however many callers there are."""
    return caller * _GOLDEN_RATIO % 1
