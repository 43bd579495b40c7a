"""Who gets a call, in which order, and until when: the event loop's side of the engine.

Admission is a synchronous count on one loop, so it cannot race: first come, first served, and no slot is
promised twice. Owns every session from `admit` to its end. Knows no sockets and no wire.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from server.engine.bridge import Bridge, Broken, Close, Closed, Failed, Notice, Open, Opened, Ready, Stepped, Stop
from server.engine.clock import Clock, WallClock
from server.engine.engine import Engine
from server.engine.runner import ModelCard, Runner
from server.engine.watchdog import PATIENCE_LOOKS, Watchdog
from server.errors import (
    CallBroken,
    CallerLeft,
    EngineFailed,
    GoneQuiet,
    NeverSpoke,
    NotListening,
    ParleyError,
    Refused,
    Restarting,
    ServerFull,
    ServerStarting,
    ServerStopping,
)
from server.metrics import Metrics
from server.session import Session, SessionParams
from server.settings import Settings

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
PING_AFTER_S = 4.0  # clients of today hang up after 10 s without a message
_THREAD_STOPS_WITHIN_S = 1.0

Status = Literal["starting", "ready", "stopping", "failed"]


class Reception:
    """Lets callers in, in line or not at all, and watches over those who are in."""

    def __init__(self, settings: Settings, make_runner: Callable[[], Runner], clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or WallClock()
        self.metrics = Metrics()
        self.status: Status = "starting"
        self.reason = "The model is loading."  # why the status is not ready
        self.card = ModelCard(name=settings.model, demo=False, notice="The model is loading.")
        self.slots = 0  # how many calls the model takes at once: known when it is ready
        self.failed = asyncio.Event()
        self._make_runner = make_runner
        self._free = 0
        self._line: list[Session] = []
        self._sessions: set[Session] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    # ── The server's life

    def start(self) -> None:
        """Start the engine on the running loop; it loads its model while the server answers already."""
        self._bridge = Bridge(asyncio.get_running_loop(), self._on_notices)
        self._engine = Engine(self._make_runner, self._bridge, self.clock)
        self._engine.start()

    async def drain(self, timeout_s: float) -> None:
        """Take no more callers, end every call politely, and wait for that within `timeout_s`."""
        if self.status != "failed":
            self.status, self.reason = "stopping", "The server is stopping."
        for session in list(self._sessions):
            session.end(Restarting("The server is restarting. Call again in a moment."))
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            log.warning("calls did not end in time", extra={"calls": len(self._sessions)})

    def stop(self) -> None:
        """End the engine thread. A step under way may outlive this; the thread is a daemon."""
        self._bridge.submit(Stop())
        if not self._engine.join(_THREAD_STOPS_WITHIN_S):
            log.warning("the engine is still busy")

    # ── Admission

    @property
    def running(self) -> int:
        return self.slots - self._free

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def counts(self) -> Counter[str]:
        """What was counted so far, calls in progress included."""
        counts = Counter({**self.metrics.counts, "refused": self.metrics.refused.total()})
        for session in self._sessions:
            counts.update(session.counts)
        return counts

    @contextmanager
    def admit(self, params: SessionParams, may_wait: bool) -> Iterator[Session]:
        """A session that has a slot, or a place in line, until the block is left. Raises Refused."""
        self._refuse_unless_open(may_wait)
        session = Session(params, self.clock, self._bridge.wake, self.settings.max_call_s)
        self._sessions.add(session)
        self._empty.clear()
        self._line.append(session)
        if self._free:
            self._seat_next()
        else:
            self._tell_place(session)
        try:
            yield session
        finally:
            session.end(CallerLeft("The caller hung up."))
            self._release(session)
            self._sessions.discard(session)
            if not self._sessions:
                self._empty.set()
            self._sum_up(session)

    def _refuse_unless_open(self, may_wait: bool) -> None:
        refusal: Refused | None = None
        if self.status == "starting":
            refusal = ServerStarting("The model is still loading. Call again in a moment.")
        elif self.status != "ready":
            refusal = ServerStopping("The server is stopping. Call again in a moment.")
        elif not self._free and not may_wait:
            refusal = ServerFull("All lines are busy. Call again in a moment.")
        elif not self._free and len(self._line) >= self.settings.max_waiting:
            refusal = ServerFull("All lines are busy and the line is full. Call again later.")
        if refusal:
            self.note_refusal(refusal)
            raise refusal

    def note_refusal(self, why: ParleyError) -> None:
        """Count and log a caller who is turned away."""
        self.metrics.refused[why.code] += 1
        log.info("call refused", extra={"reason": why.code, "running": self.running})

    def _seat_next(self) -> None:
        """Promise free slots to the first in line, and tell the others where they are."""
        while self._free and self._line:
            self._free -= 1
            self._bridge.submit(Open(self._line.pop(0)))
            self._tell_places()

    def _tell_places(self) -> None:
        for session in self._line:
            self._tell_place(session)

    def _tell_place(self, session: Session) -> None:
        position = self._line.index(session) + 1
        call_s = self.metrics.call_s.median_s()
        ahead_s = None if call_s is None else round(position * call_s / self.slots)
        session.tell({"type": "queue", "position": position, "ahead_s": ahead_s})

    def _release(self, session: Session) -> None:
        if session in self._line:
            self._line.remove(session)
            session.close()
            self._tell_places()
        else:
            self._bridge.submit(Close(session))

    def _sum_up(self, session: Session) -> None:
        assert session.ended is not None
        why, now = session.ended.code, self.clock.now()
        self.metrics.add_counts({"calls": 1, **session.counts})
        if session.greeted_at is None:
            self.metrics.counts["left_line"] += 1
        else:
            self.metrics.add_call(why, now - session.greeted_at)  # without its time in line, to which this is added up
        fields = {"call": session.call, "why": why, "duration_s": round(now - session.came_at, 1)}
        log.info("call ended", extra={**fields, **_summary(session)})

    # ── What the engine has to tell

    def _on_notices(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice:
                case Stepped(replies):
                    if replies:
                        self.metrics.add_step(len(replies), replies[0][1].step_s)
                    for session, reply in replies:
                        session.deliver(reply)
                case Broken(session):
                    self._on_broken(session)
                case Opened(session):
                    if not session.ended:
                        self.metrics.lines.add(self.clock.now() - session.came_at)
                        session.open()
                case Closed(session):
                    session.close()
                    self._free += 1
                    self._seat_next()
                case Ready(card, slots):
                    self._on_ready(card, slots)
                case Failed(reason):
                    self._on_failed(reason)

    def _on_ready(self, card: ModelCard, slots: int) -> None:
        self.card = card
        self.slots = self._free = slots
        if self.status == "starting":
            self.status, self.reason = "ready", ""
        notice = {"notice": card.notice} if card.notice else {}
        log.info("ready", extra={"model": card.name, "slots": slots, **notice})

    def _on_broken(self, session: Session) -> None:
        if not session.ended:  # else it breaks once more, on its way out
            session.counts["broken"] += 1
            log.error("a call broke", extra={"call": session.call})
            session.end(CallBroken("The model computed something that is no number, so this call ends; call again."))

    def _on_failed(self, reason: str) -> None:
        if self.status == "failed":
            return
        self.status, self.reason = "failed", reason
        log.error("the engine failed", extra={"reason": reason})
        for session in list(self._sessions):
            session.end(EngineFailed("The server failed and ends this call; it is our fault."))
        self.failed.set()

    # ── Watching over calls

    async def watch(self) -> None:
        """Once a second, look after the engine and every session; for ever."""
        watchdog = Watchdog()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if watchdog.hangs(self._engine.turn):
                self._on_failed(f"A step of the model has not ended for {PATIENCE_LOOKS} s.")
            now = self.clock.now()
            for session in list(self._sessions):
                self.look_after(session, now)

    def look_after(self, session: Session, now: float) -> None:
        """End a call that nobody takes part in any more; tell the others how it goes."""
        limits = self.settings
        if session.stalled_s(now) > limits.stalled_s:
            session.end(NotListening("Nothing that was sent to you is being read, so the call ends."))
        elif session.greeted_at is None:
            return
        elif session.heard_at is None:
            if now - session.greeted_at > limits.first_audio_s:
                session.end(NeverSpoke(f"No audio came within {limits.first_audio_s:g} s, so the call ends."))
        elif now - session.heard_at > limits.quiet_s:
            session.end(GoneQuiet(f"No audio has come for {limits.quiet_s:g} s, so the call ends."))
        session.tell_stats()
        if now - session.taken_at > PING_AFTER_S:
            session.tell({"type": "ping"})


def _summary(session: Session) -> dict[str, float]:
    """How a call went, for its last line in the log: what is always told, and whatever else was counted."""
    always = dict.fromkeys(("heard", "late", "skipped", "concealed", "received_bytes", "sent_bytes"), 0)
    turnaround = session.turnaround.percentiles_ms()
    return {**always, **session.counts, **{f"turnaround_{p}_ms": turnaround[p] for p in ("p50", "p99") if turnaround}}
