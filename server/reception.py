"""Who gets a call, and until when: the event loop's side of the engine.

Owns every session from `admit` to its end, over as many sockets as it takes: one that lost its socket keeps its slot
for a while, unless somebody else wants it (`seats.py`). Knows no sockets and no wire.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from server.engine.bridge import (
    Bridge,
    Broken,
    Check,
    Checked,
    Closed,
    Command,
    Failed,
    Notice,
    Opened,
    Ready,
    Stepped,
    Stop,
)
from server.engine.clock import Clock, WallClock
from server.engine.engine import Engine
from server.engine.runner import DeviceMemory, ModelCard, Runner
from server.engine.watchdog import PATIENCE_LOOKS, Watchdog
from server.errors import (
    CallBroken,
    CallEnded,
    CallerLeft,
    CannotResume,
    EngineFailed,
    ParleyError,
    Refused,
    Restarting,
    ServerFull,
    ServerStarting,
    ServerStopping,
    TakenOver,
)
from server.metrics import Metrics
from server.patience import at_its_end
from server.recording import make_recorder
from server.resuming import Tokens
from server.seats import Seats
from server.session import Session, SessionParams, SessionState
from server.settings import Settings

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
PING_AFTER_S = 4.0  # clients of today hang up after 10 s without a message
PARTING_S = 3.0  # for all calls to end, once they have been told to
_THREAD_STOPS_WITHIN_S = 1.0
_RESTARTING = "The server is restarting. Call again in a moment."

Status = Literal["starting", "ready", "stopping", "failed"]


class Reception:
    """Lets callers in, in line or not at all, and watches over those who are in."""

    def __init__(self, settings: Settings, make_runner: Callable[[], Runner], clock: Clock | None = None) -> None:
        """Raises CannotRecord."""
        self.settings = settings
        self.clock = clock or WallClock()
        self.metrics = Metrics()
        self.status: Status = "starting"
        self.reason = "The model is loading."  # why the status is not ready
        self.card = ModelCard(name=settings.model, demo=False, notice="The model is loading.")
        self.failed = asyncio.Event()
        self._make_runner = make_runner
        self._seats = Seats(self.clock, self._submit, self._on_left)
        self._tokens = Tokens(settings.server_id)
        self._recorder = make_recorder(settings)
        self._drained_at = math.inf  # when calls are ended, by the clock
        self._checks: deque[asyncio.Future[str | None]] = deque()  # asked of the engine and not yet answered
        self._empty = asyncio.Event()
        self._empty.set()

    # ── The server's life

    def start(self) -> None:
        """Start the engine on the running loop; it loads its model while the server answers already."""
        self._bridge = Bridge(asyncio.get_running_loop(), self._on_notices)
        self._engine = Engine(self._make_runner, self._bridge, self.clock)
        self._engine.start()

    async def drain(self, grace_s: float) -> None:
        """Take no more callers, let those who talk go on for `grace_s`, and end what is left politely; bounded."""
        if self.status != "failed":
            self.status, self.reason = "stopping", "The server is stopping."
            self._drained_at = self.clock.now() + grace_s
            for session in self._seats.in_line():
                session.end(Restarting(_RESTARTING))
            for session in self._seats:
                self._tell_drain(session)
            if self._seats and grace_s:
                log.info("calls go on for a while", extra={"calls": len(self._seats), "seconds": grace_s})
            await self._emptied(grace_s)
        for session in self._seats:
            self._end(session, Restarting(_RESTARTING))
        if not await self._emptied(PARTING_S):
            log.warning("calls did not end in time", extra={"calls": len(self._seats)})

    async def _emptied(self, within_s: float) -> bool:
        try:
            await asyncio.wait_for(self._empty.wait(), within_s)
        except TimeoutError:
            return False
        return True

    def _tell_drain(self, session: Session) -> None:
        left_s = self._drained_at - self.clock.now()
        if 0 < left_s < math.inf:
            session.tell({"type": "drain", "left_s": round(left_s)})

    def stop(self) -> None:
        """End the engine thread. A step under way may outlive this; the thread is a daemon."""
        self._bridge.submit(Stop())
        if not self._engine.join(_THREAD_STOPS_WITHIN_S):
            log.warning("the engine is still busy")
        if self._recorder:
            self._recorder.stop()

    # ── Admission

    @property
    def slots(self) -> int:
        """How many calls the model takes at once; 0: not known yet."""
        return self._seats.slots

    @property
    def running(self) -> int:
        return self._seats.running

    @property
    def parked(self) -> int:
        return self._seats.parked

    @property
    def waiting(self) -> int:
        return self._seats.waiting

    def device_memory(self) -> DeviceMemory | None:
        """How full the GPU is; None without one, and until the model is ready."""
        return self._engine.device_memory() if self.slots else None

    @property
    def counts(self) -> Counter[str]:
        """What was counted so far, calls in progress included."""
        counts = Counter({**self.metrics.counts, "refused": self.metrics.refused.total()})
        for session in self._seats:
            counts.update(session.counts)
        return counts

    @contextmanager
    def admit(self, params: SessionParams, wants_events: bool) -> Iterator[Session]:
        """A new session that has a slot, or a place in line, until the block is left. Raises Refused.

        Who wants events may wait in line, and resume.
        """
        self._refuse_unless_open(wants_events)
        resume_s = self.settings.resume_s if wants_events else 0.0
        session = Session(params, self.clock, self._bridge.wake, self.settings.max_call_s, resume_s)
        self._empty.clear()
        self._seats.join(session)
        with self._served(session):
            yield session

    @contextmanager
    def resume(self, token: str) -> Iterator[Session]:
        """The session that is `token`'s, from where it stood, until the block is left. Raises CannotResume."""
        session = self._tokens.redeem(token)
        if session is None or session.ended:
            refusal = CannotResume("That conversation is over, or was never here. Call again to begin a new one.")
            self.note_refusal(refusal)
            raise refusal
        if session.state is SessionState.RUNNING:  # its socket only seems alive
            session.park(TakenOver("The call goes on over another connection."))
        session.resume(self._tokens.issue(session))
        self._tell_drain(session)
        log.info("call resumed", extra={"call": session.call})
        with self._served(session):
            yield session

    @contextmanager
    def _served(self, session: Session) -> Iterator[None]:
        """One socket's time with a session."""
        outbox = session.outbox
        try:
            yield
        finally:
            if session.outbox is not outbox:
                pass  # it goes on over another one
            elif session.state is SessionState.PARKED:
                log.info("call parked")
                self._seats.fill()
            else:
                session.end(CallerLeft("The caller hung up."))
                self._seats.leave(session)

    def _refuse_unless_open(self, may_wait: bool) -> None:
        refusal: Refused | None = None
        is_full = self._seats.is_full
        if self.status == "starting":
            refusal = ServerStarting("The model is still loading. Call again in a moment.")
        elif self.status != "ready":
            refusal = ServerStopping("The server is stopping. Call again in a moment.")
        elif is_full and not may_wait:
            refusal = ServerFull("All lines are busy. Call again in a moment.")
        elif is_full and self.waiting >= self.settings.max_waiting:
            refusal = ServerFull("All lines are busy and the line is full. Call again later.")
        if refusal:
            self.note_refusal(refusal)
            raise refusal

    def note_refusal(self, why: ParleyError) -> None:
        """Count and log a caller who is turned away."""
        self.metrics.refused[why.code] += 1
        log.info("call refused", extra={"reason": why.code, "running": self.running})

    def _end(self, session: Session, why: CallEnded) -> None:
        """End a call; with one that is parked nobody else is left to let go of it."""
        was_parked = session.state is SessionState.PARKED
        session.end(why)
        if was_parked:
            self._seats.leave(session)

    def _on_left(self, session: Session) -> None:
        self._tokens.forget(session)
        if not self._seats:
            self._empty.set()
        assert session.ended is not None
        why, now = session.ended.code, self.clock.now()
        self.metrics.add_counts({"calls": 1, **session.counts})
        if session.greeted_at is None:
            self.metrics.counts["left_line"] += 1
        else:
            self.metrics.add_call(why, now - session.greeted_at)
        fields = {"call": session.call, "why": why, "duration_s": round(now - session.came_at, 1)}
        log.info("call ended", extra={**fields, **_summary(session)})

    def _submit(self, command: Command) -> None:
        self._bridge.submit(command)

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
                        if self._recorder and session.params.record:
                            about = {"model": self.card.name, "seed": session.params.text_seed}
                            session.recording = self._recorder.begin(session.call, about)
                        session.open(self._tokens.issue(session) if session.resume_s else None)
                case Closed(session):
                    session.close()
                case Checked(problem):
                    self._checks.popleft().set_result(problem)
                case Ready(card, slots):
                    self._on_ready(card, slots)
                case Failed(reason):
                    self._on_failed(reason)

    def _on_ready(self, card: ModelCard, slots: int) -> None:
        self.card = card
        self._seats.open(slots)
        if self.status == "starting":
            self.status, self.reason = "ready", ""
        notice = {"notice": card.notice} if card.notice else {}
        log.info("ready", extra={"model": card.name, "slots": slots, **notice})

    def _on_broken(self, session: Session) -> None:
        if not session.ended:  # else it breaks once more, on its way out
            session.counts["broken"] += 1
            log.error("a call broke", extra={"call": session.call})
            why = CallBroken("The model computed something that is no number, so this call ends; call again.")
            self._end(session, why)

    def _on_failed(self, reason: str) -> None:
        if self.status == "failed":
            return
        self.status, self.reason = "failed", reason
        log.error("the engine failed", extra={"reason": reason})
        for session in self._seats:
            self._end(session, EngineFailed("The server failed and ends this call; it is our fault."))
        self.failed.set()

    # ── Watching over calls

    async def check_integrity(self) -> None:
        """Assert, with the engine and while calls go on, that no slot is lost or held twice. Needs a live engine."""
        self._seats.check_integrity()
        checked = asyncio.get_running_loop().create_future()
        self._checks.append(checked)
        self._submit(Check(frozenset(self._seats.seated())))
        problem = await checked
        assert problem is None, problem

    async def watch(self) -> None:
        """Once a second, look after the engine and every session; for ever."""
        watchdog = Watchdog()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if watchdog.hangs(self._engine.turn):
                self._on_failed(f"A step of the model has not ended for {PATIENCE_LOOKS} s.")
            now = self.clock.now()
            for session in self._seats:
                self.look_after(session, now)
            self._seats.tell_places()

    def look_after(self, session: Session, now: float) -> None:
        """End a call that nobody takes part in any more; tell the others how it goes."""
        why = at_its_end(session, now, self.settings)
        if why:
            session.counts["expired"] += session.state is SessionState.PARKED
            self._end(session, why)
        session.tell_stats()
        if now - session.outbox.taken_at > PING_AFTER_S:
            session.tell({"type": "ping"})


def _summary(session: Session) -> dict[str, float]:
    """How a call went, for its last line in the log: what is always told, and whatever else was counted."""
    always = dict.fromkeys(("heard", "late", "skipped", "concealed", "received_bytes", "sent_bytes"), 0)
    turnaround = session.turnaround.percentiles_ms()
    return {**always, **session.counts, **{f"turnaround_{p}_ms": turnaround[p] for p in ("p50", "p99") if turnaround}}
