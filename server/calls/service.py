"""The service around the engine: starts and stops it, dispatches its notices, and notices when it fails or hangs.

Also says what is true of the server as a whole, for `/api/info`, `/metrics` and `/readyz`. Owner: the event loop. Knows
no sockets and no dialect; who gets a session is decided in `registry.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal

from server.calls.registry import CallRegistry, stopping
from server.clock import Clock, WallClock
from server.engine.bridge import (
    Bridge,
    CheckIntegrity,
    Command,
    EngineCrashed,
    EngineReady,
    IntegrityChecked,
    Notice,
    OutputNonFinite,
    SessionClosed,
    SessionOpened,
    Stepped,
    StopEngine,
)
from server.engine.engine import Engine
from server.engine.runner import DeviceMemory, ModelCard, Runner
from server.engine.watchdog import HANG_CHECKS, Watchdog
from server.errors import EngineFailed, NonFiniteOutput
from server.metrics import Count, Metrics
from server.sessions.session import Session
from server.settings import Settings

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
_JOIN_TIMEOUT_S = 1.0

Status = Literal["starting", "ready", "stopping", "failed"]


class Service:
    """One engine and its sessions."""

    def __init__(self, settings: Settings, make_runner: Callable[[], Runner], clock: Clock | None = None) -> None:
        """Raises CannotRecord."""
        self.settings = settings
        self.clock = clock or WallClock()
        self.metrics = Metrics()
        self.status: Status = "starting"
        self.reason = "The model is loading."  # why the status is not ready
        self.card = ModelCard(name=settings.model, demo=False, notice="The model is loading.")
        self.failed = asyncio.Event()
        self.calls = CallRegistry(settings, self.clock, self.metrics, self._submit, self._wake_engine)
        self._make_runner = make_runner
        self._checks: deque[asyncio.Future[str | None]] = deque()  # asked of the engine, and not answered yet

    # ── Starting and stopping

    def start(self) -> None:
        """Start the engine on the running loop. It loads its model while the server already answers."""
        self._bridge = Bridge(asyncio.get_running_loop(), self._on_notices)
        self._engine = Engine(self._make_runner, self._bridge, self.clock)
        self._engine.start()

    async def drain(self, grace_s: float) -> None:
        """Admit no new sessions, wait `grace_s`, then end the rest. Bounded."""
        if self.status == "failed":
            await self.calls.end_all()
        else:
            self.status, self.reason = "stopping", "The server is stopping."
            self.calls.closed = stopping
            await self.calls.drain(grace_s)

    def stop(self) -> None:
        """End the engine thread. A step under way may outlive this; the thread is a daemon."""
        self._bridge.submit(StopEngine())
        if not self._engine.join(_JOIN_TIMEOUT_S):
            log.warning("the engine thread did not end in time")
        self.calls.stop()

    # ── State

    @property
    def slots(self) -> int:
        """How many sessions the model takes at once; 0: not known yet."""
        return self.calls.admission.slots

    @property
    def running(self) -> int:
        return self.calls.admission.running

    @property
    def parked(self) -> int:
        return self.calls.admission.parked

    @property
    def waiting(self) -> int:
        return self.calls.admission.waiting

    @property
    def counts(self) -> Counter[Count]:
        """What was counted so far, sessions in progress included."""
        return self.calls.counts

    def device_memory(self) -> DeviceMemory | None:
        """How full the GPU is; None without one, and before the model is ready."""
        return self._engine.device_memory() if self.slots else None

    async def check_integrity(self) -> None:
        """Assert, in the engine too and while sessions run, that no slot is lost or held twice. Needs a live engine."""
        self.calls.admission.check_integrity()
        checked = asyncio.get_running_loop().create_future()
        self._checks.append(checked)
        self._submit(CheckIntegrity(frozenset(self.calls.admission.holders())))
        problem = await checked
        assert problem is None, problem

    def _submit(self, command: Command) -> None:
        self._bridge.submit(command)

    def _wake_engine(self) -> None:
        self._bridge.notify()

    # ── The engine's notices

    def _on_notices(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice:
                case Stepped(replies, rows):
                    if replies:
                        self.metrics.add_step(len(replies), rows, replies[0][1].step_s)
                    for session, reply in replies:
                        session.push_reply(reply)
                case OutputNonFinite(session):
                    self._on_non_finite(session)
                case SessionOpened(session):
                    self.calls.open(session, self.card.name)
                case SessionClosed(session):
                    session.close()
                case IntegrityChecked(problem):
                    self._checks.popleft().set_result(problem)
                case EngineReady(card, slots):
                    self._on_ready(card, slots)
                case EngineCrashed(reason):
                    self._on_failed(reason)

    def _on_ready(self, card: ModelCard, slots: int) -> None:
        self.card = card
        self.calls.open_slots(slots)
        if self.status == "starting":
            self.status, self.reason, self.calls.closed = "ready", "", None
        told = {name: text for name, text in (("notice", card.notice), ("advice", card.advice)) if text}
        log.info("ready", extra={"model": card.name, "slots": slots, **told})

    def _on_non_finite(self, session: Session) -> None:
        if not session.ended:  # else this is one more step of a session that is being closed
            session.counts[Count.CALLS_NON_FINITE] += 1
            log.error("the model produced NaN or infinity; the call was ended", extra={"call": session.id})
            why = NonFiniteOutput(
                "The model produced NaN or infinity for this call, so it was ended. Please call again."
            )
            self.calls.end(session, why)

    def _on_failed(self, reason: str) -> None:
        if self.status == "failed":
            return
        self.status, self.reason = "failed", reason
        self.calls.closed = stopping
        log.error("engine failed", extra={"reason": reason})
        for session in self.calls.admission:
            self.calls.end(session, EngineFailed())
        self.failed.set()

    async def watch(self) -> None:
        """Once a second, check the engine and every session; for ever."""
        watchdog = Watchdog()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if watchdog.hangs(self._engine.tick_number):
                self._on_failed(f"A model step did not end within {HANG_CHECKS} s.")
            now = self.clock.now()
            for session in self.calls.admission:
                self.calls.check(session, now)
            self.calls.admission.send_positions()
