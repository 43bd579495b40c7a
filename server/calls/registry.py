"""Every session from `admit` to its end: who gets one, who resumes one, and when it is ended.

A session may outlive its connection: it then keeps its slot for a while, unless another client needs the slot
(`admission.py`), and goes on over the next connection (`resume_tokens.py`). Owner: the event loop. Knows no sockets, no
dialect and no model.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.calls.admission import Admission
from server.calls.callers import Callers
from server.calls.resume_tokens import ResumeTokens
from server.clock import Clock
from server.engine.bridge import CloseSession, OpenSession
from server.errors import (
    CallEnded,
    CannotResume,
    ClientClosed,
    ConnectionLost,
    ParleyError,
    Refused,
    Restarting,
    ServerFull,
    ServerStarting,
    ServerStopping,
    TakenOver,
    TooManyCalls,
)
from server.events import Draining
from server.metrics import Count, Metrics
from server.sessions.outbox import KeepAlive
from server.sessions.params import SessionParams
from server.sessions.recorder import make_recorder
from server.sessions.session import Session, SessionState
from server.settings import Settings
from server.transport.rate_limit import RateLimiter

log = logging.getLogger(__name__)

KEEP_ALIVE_AFTER_S = 4.0  # existing clients hang up after 10 s without a message
END_TIMEOUT_S = 3.0  # for all calls to end, once they have been told to
_RESTARTING = "The server is restarting. Please call again in a moment."
_ALWAYS_LOGGED = (
    *(Count.FRAMES, Count.FRAMES_LATE, Count.FRAMES_SKIPPED, Count.PACKETS_CONCEALED),
    *(Count.RECEIVED_BYTES, Count.SENT_BYTES),
)


class CallRegistry:
    """All sessions of one engine."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        submit: Callable[[OpenSession | CloseSession], None],
        wake_engine: Callable[[], None],
    ) -> None:
        """`submit` takes commands to the engine, in their order. Raises CannotRecord."""
        self.closed: Callable[[], Refused] | None = starting  # makes new clients' refusal; None: admit
        self.admission = Admission(clock, submit, self._on_left)
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._wake_engine = wake_engine
        self._tokens = ResumeTokens(settings.server_id)
        self._callers = Callers(settings, clock)
        self._recorder = make_recorder(settings)
        self._early: dict[Session, Callable[[], SessionParams]] = {}  # wait since before the model was ready
        self._drained_at = math.inf  # when all sessions are ended, by the clock
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def counts(self) -> Counter[Count]:
        """What was counted so far, sessions in progress included."""
        counts = Counter(self._metrics.counts)
        for session in self.admission:
            counts.update(session.counts)
        return counts

    # ── Beginning

    @contextmanager
    def admit(
        self,
        params: SessionParams,
        may_wait: bool,
        client_key: str | None = None,
        max_call_s: float | None = None,
        remake_params: Callable[[], SessionParams] | None = None,
    ) -> Iterator[Session]:
        """A new session that has a slot, or waits for one, until the block is left. Raises Refused.

        A client that may wait in the queue may also resume, unless `remake_params` is given: it is held, while the
        model loads too, and then gets its parameters anew, with that model's defaults. `client_key`: whom the session
        is counted for; None: nobody. `max_call_s`: how long it may last, if the operator allows no less.
        """
        is_held = may_wait and remake_params is not None
        try:
            self._check(may_wait, is_held, client_key)
        except Refused as refusal:
            self.note_refusal(refusal)
            raise
        resume_s = self._settings.resume_s if may_wait and not is_held else 0.0
        limits_s = [limit_s for limit_s in (max_call_s, self._settings.max_call_s) if limit_s is not None]
        session = Session(params, self._clock, self._wake_engine, min(limits_s, default=None), resume_s)
        self._callers.enter(session, client_key)
        self._empty.clear()
        if remake_params and not self.admission.slots:
            self._early[session] = remake_params
        self.admission.enter(session)
        with self._served(session):
            yield session

    @contextmanager
    def resume(self, token: str) -> Iterator[Session]:
        """The session that `token` belongs to, from where it stood, until the block is left. Raises CannotResume."""
        session = self._tokens.redeem(token)
        if session is None:
            refusal = CannotResume("The call to resume is over, or was never here. Please call again.")
            self.note_refusal(refusal)
            raise refusal
        if session.state is SessionState.RUNNING:  # its connection only seems alive
            session.park(TakenOver("The call goes on over another connection."))
        session.resume(self._tokens.issue(session))
        self._send_drain(session)
        log.info("call resumed", extra={"call": session.id})
        with self._served(session):
            yield session

    def open(self, session: Session, model: str) -> None:
        """The session got its slot."""
        if session.ended:
            return
        self._metrics.queue_waits.add(self._clock.now() - session.arrived_at)
        if self._recorder and session.params.record:
            about = {"model": model, "seed": session.params.text_seed}
            session.recording = self._recorder.begin(session.id, about)
            session.counts[Count.RECORDINGS_REFUSED] += session.recording is None
        session.open(self._tokens.issue(session) if session.resume_s else None)

    def check_client(self, client_key: str | None) -> None:
        """Raises TooManyCalls, counted and logged, where this client may not have another session."""
        try:
            self._callers.check(client_key)
        except TooManyCalls as refusal:
            self.note_refusal(refusal)
            raise

    def rate_limiter(self, session: Session) -> RateLimiter:
        """What limits the client of a session over all of its connections."""
        return self._callers.rate_limiter(session)

    def open_slots(self, slots: int) -> None:
        """The model is ready: whoever waits for it gets its defaults, and a slot."""
        for session, remake_params in self._early.items():
            session.params = remake_params()
        self._early.clear()
        self.admission.open(slots)
        self.admission.fill()

    def _check(self, may_wait: bool, is_held: bool, client_key: str | None) -> None:
        """Raises Refused where there is no session to be had."""
        if self.closed and not (is_held and self.closed is starting):
            raise self.closed()
        self._callers.check(client_key)
        if self.admission.is_full and not may_wait:
            raise ServerFull("All slots are in use. Try again in a moment.")
        if self.admission.is_full and self.admission.waiting >= self._settings.max_waiting:
            raise ServerFull("All slots are in use and the queue is full. Try again later.")

    def note_refusal(self, why: ParleyError) -> None:
        """Count and log a client that is refused."""
        self._metrics.refused[why.code] += 1
        log.info("call refused", extra={"reason": why.code, "running": self.admission.running})

    # ── While it runs

    def check(self, session: Session, now: float) -> None:
        """End a session whose time is up; tell the others how it goes, and keep their connections alive."""
        why = session.expiry(now, self._settings)
        if why:
            session.counts[Count.CALLS_EXPIRED] += isinstance(why, ConnectionLost)
            self.end(session, why)
        session.send_stats()
        if now - session.outbox.taken_at > KEEP_ALIVE_AFTER_S:
            session.send_event(KeepAlive())

    # ── Ending

    @contextmanager
    def _served(self, session: Session) -> Iterator[None]:
        """One connection's time with a session."""
        outbox = session.outbox
        try:
            yield
        finally:
            if session.outbox is not outbox:
                pass  # the session goes on over another one
            elif session.state is SessionState.PARKED:
                log.info("call parked")
                self.admission.fill()
            else:
                session.end(ClientClosed("The client closed the connection."))
                self.admission.leave(session)

    async def drain(self, grace_s: float) -> None:
        """Let sessions that have a slot go on for `grace_s`, and then end all."""
        self._drained_at = self._clock.now() + grace_s
        for session in self.admission.queued():
            session.end(Restarting(_RESTARTING))
        for session in self.admission:
            self._send_drain(session)
        if self.admission and grace_s:
            log.info(
                "draining: waiting for calls to end; send a second signal to stop now",
                extra={"calls": len(self.admission), "seconds": grace_s},
            )
        await self._wait_empty(grace_s)
        await self.end_all()

    async def end_all(self) -> None:
        """End every session with a reason, within a bound."""
        for session in self.admission:
            self.end(session, Restarting(_RESTARTING))
        if not await self._wait_empty(END_TIMEOUT_S):
            log.warning("calls did not end in time", extra={"calls": len(self.admission)})

    def stop(self) -> None:
        """Finish the recordings."""
        if self._recorder:
            self._recorder.stop()

    def _send_drain(self, session: Session) -> None:
        left_s = self._drained_at - self._clock.now()
        if 0 < left_s < math.inf:
            session.send_event(Draining(round(left_s)))

    async def _wait_empty(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def end(self, session: Session, why: CallEnded) -> None:
        """End a session. One that is parked has no connection that would release its slot, so it is released here."""
        was_parked = session.state is SessionState.PARKED
        session.end(why)
        if was_parked:
            self.admission.leave(session)

    def _on_left(self, session: Session) -> None:
        self._tokens.forget(session)
        self._callers.leave(session)
        self._early.pop(session, None)
        if not self.admission:
            self._empty.set()
        assert session.ended is not None
        why, now = session.ended.code, self._clock.now()
        self._metrics.add_counts({Count.SESSIONS_ENDED: 1, **session.counts})
        if session.ready_at is None:
            self._metrics.counts[Count.QUEUE_LEFT] += 1
        else:
            self._metrics.add_call(why, now - session.ready_at)
        fields = {"call": session.id, "why": why, "duration_s": round(now - session.arrived_at, 1)}
        log.info("call ended", extra={**fields, **_summary(session)})


def starting() -> Refused:
    return ServerStarting("The model is still loading. Try again in a moment.")


def stopping() -> Refused:
    return ServerStopping("The server is stopping. Try again in a moment.")


def _summary(session: Session) -> dict[str, float]:
    """How a session went, for its last line in the log: what is always logged, and whatever else was counted."""
    always = dict.fromkeys(_ALWAYS_LOGGED, 0)
    turnaround = session.turnaround.percentiles_ms()
    return {**always, **session.counts, **{f"turnaround_{p}_ms": turnaround[p] for p in ("p50", "p99") if turnaround}}
