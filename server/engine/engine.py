"""The engine's turn: one thread that owns the runner and steps every call at once.

Work-conserving: as soon as a step ends the next one takes every slot that holds a whole frame; when none
does the thread sleeps until one comes. What a step said is told while the next one runs, so that a GPU never
waits for that.

It does not wait for companions. Where the device has time to spare, a wait is only added to every turnaround; where it
has none, batches fill by themselves (`make bench ARGS="--only companions"`). Owner: engine thread, but for the
constructor. Knows no event loop and no socket.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from server.clock import Clock
from server.engine.batch import StepResult
from server.engine.bridge import (
    Bridge,
    CheckIntegrity,
    CloseSession,
    Command,
    EngineCrashed,
    EngineReady,
    IntegrityChecked,
    Notice,
    OpenSession,
    OutputNonFinite,
    SessionClosed,
    SessionOpened,
    Stepped,
    StopEngine,
)
from server.engine.runner import DeviceMemory, Runner
from server.engine.slots import Gathered, Slots, StepTimes
from server.sessions.session import Session

log = logging.getLogger(__name__)

THREAD_NAME = "engine"


class Engine:
    """Makes a runner, warms it up and steps it until told to stop or until it fails."""

    def __init__(self, make_runner: Callable[[], Runner], bridge: Bridge, clock: Clock) -> None:
        """`make_runner` runs on the engine thread: it may take minutes."""
        self._make_runner = make_runner
        self._bridge = bridge
        self._clock = clock
        self._stopping = False
        self._turns = 0
        self.turn: int | None = None  # which one is under way, for any thread to see; None: asleep, or not up yet
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Any thread: begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Any thread: wait for the end of the thread, after a `Stop`. False: it is still busy."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.set_up(self._make_runner())
            while not self._stopping:
                self.tick()
            self._runner.close()
        except Exception as error:
            # What keeps it from coming up has a sentence; of a step that failed, only this tells where.
            log.log(logging.ERROR if self._turns else logging.DEBUG, "the engine's turn failed", exc_info=True)
            self._bridge.post([EngineCrashed(str(error) or type(error).__name__)])

    def device_memory(self) -> DeviceMemory | None:
        """Event loop: how full the runner's device is, once the runner is ready."""
        return self._runner.device_memory()

    def set_up(self, runner: Runner) -> None:
        """Warm `runner` up and say so."""
        self._runner = runner
        self._slots = Slots(runner.slots)
        self._step_started_at = self._step_ended_at = float("-inf")
        self._untold: tuple[Gathered, StepResult, StepTimes] | None = None
        runner.warm_up()
        self._bridge.post([EngineReady(runner.card, runner.slots)])

    def tick(self) -> None:
        """One turn: commands, a step if anyone has a frame, one post of all there is to tell; else sleep.

        Commands find no step under way. What this turn's step says is told in the next turn, at once.
        """
        self._turns += 1
        self.turn = self._turns
        notices = [notice for command in self._bridge.commands() if (notice := self._apply(command))]
        for source, target in self._slots.compact():
            self._runner.move(source, target)
        started_at = self._clock.now()
        gathered = self._slots.gather(started_at)
        pending = self._runner.submit(gathered.batch) if gathered else None
        notices += self._scatter()
        if notices:
            self._bridge.post(notices)
        if gathered and pending:
            self._untold = (gathered, pending(), self._times(started_at))
        elif not self._stopping:
            self.turn = None
            self._bridge.wait(self._idle_s())

    def _scatter(self) -> list[Notice]:
        """What is to be told of the step that ended last."""
        if self._untold is None:
            return []
        (gathered, result, times), self._untold = self._untold, None
        stepped = Stepped(gathered.scatter(result, times), result.computed)
        return [stepped, *map(OutputNonFinite, gathered.broken(result))]

    def _apply(self, command: Command) -> Notice | None:
        match command:
            case OpenSession(session):
                slot = self._slots.take(session)
                self._runner.start(slot, session.params)
                return SessionOpened(session)
            case CloseSession(session):
                self._runner.stop(self._slots.free(session))
                return SessionClosed(session)
            case CheckIntegrity(seated):
                return IntegrityChecked(self._problem(seated))
            case StopEngine():
                self._stopping = True
                return None

    def _times(self, started_at: float) -> StepTimes:
        previous = self._step_started_at, self._step_ended_at
        self._step_started_at, self._step_ended_at = started_at, self._clock.now()
        return StepTimes(started_at, self._step_ended_at, *previous)

    def _idle_s(self) -> float | None:
        """How long until a standing microphone is due a frame of silence; None: until someone rings."""
        due_at = self._slots.due_at()
        return max(0.0, due_at - self._clock.now()) if due_at < math.inf else None

    def _problem(self, seated: frozenset[Session]) -> str | None:
        try:
            self.check_integrity()
            assert self._slots.seated() == seated, "slots are held by others than those to whom they were given"
        except AssertionError as error:
            return str(error)

    def check_integrity(self) -> None:
        """Assert what must hold between ticks."""
        self._slots.check_integrity()
