"""The engine: one thread that owns the runner and steps every session at once.

It is work-conserving: as soon as a step ends, the next one takes every slot whose source has a frame; when none has,
the thread sleeps until one comes. The results of a step are posted while the next one runs, so that a GPU never waits
for the event loop.

It does not wait to fill a batch. Where the device has time to spare, waiting only adds to every turnaround; where it
has none, batches fill by themselves (`make bench ARGS="--only batching-wait"`). Owner: the engine thread, except for
the constructor. Knows no event loop and no socket.
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
    """Makes a runner, warms it up, and steps it until it is stopped or fails."""

    def __init__(self, make_runner: Callable[[], Runner], bridge: Bridge, clock: Clock) -> None:
        """`make_runner` runs on the engine thread, and may take minutes."""
        self._make_runner = make_runner
        self._bridge = bridge
        self._clock = clock
        self._stopping = False
        self._ticks = 0
        self.tick_number: int | None = None  # of the tick under way, for any thread to read; None: asleep or not up yet
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Any thread: start."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Any thread: wait for the thread to end, after `StopEngine`. False: it is still busy."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.set_up(self._make_runner())
            while not self._stopping:
                self.tick()
            self._runner.close()
        except Exception as error:
            # An error at start has a sentence of its own; for a step that failed, only the traceback says where.
            log.log(logging.ERROR if self._ticks else logging.DEBUG, "engine step failed", exc_info=True)
            self._bridge.post([EngineCrashed(str(error) or type(error).__name__)])

    def device_memory(self) -> DeviceMemory | None:
        """Event loop: how full the runner's device is. Only once the runner is ready."""
        return self._runner.device_memory()

    def set_up(self, runner: Runner) -> None:
        """Warm `runner` up and post that it is ready."""
        self._runner = runner
        self._slots = Slots(runner.slots)
        self._step_started_at = self._step_ended_at = float("-inf")
        self._last_step: tuple[Gathered, StepResult, StepTimes] | None = None  # whose results are not posted yet
        runner.warm_up()
        self._bridge.post([EngineReady(runner.card, runner.slots)])

    def tick(self) -> None:
        """One turn of the loop: apply commands, step if any source has a frame, post the notices; else sleep.

        Commands are applied while no step runs. The results of this tick's step are posted in the next tick.
        """
        self._ticks += 1
        self.tick_number = self._ticks
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
            self._last_step = (gathered, pending(), self._times(started_at))
        elif not self._stopping:
            self.tick_number = None
            self._bridge.wait(self._idle_s())

    def _scatter(self) -> list[Notice]:
        """The notices of the step that ended last."""
        if self._last_step is None:
            return []
        (gathered, result, times), self._last_step = self._last_step, None
        stepped = Stepped(gathered.scatter(result, times), result.computed)
        return [stepped, *map(OutputNonFinite, gathered.non_finite(result))]

    def _apply(self, command: Command) -> Notice | None:
        match command:
            case OpenSession(session):
                slot = self._slots.take(session)
                self._runner.start(slot, session.params)
                return SessionOpened(session)
            case CloseSession(session):
                self._runner.stop(self._slots.free(session))
                return SessionClosed(session)
            case CheckIntegrity(holders):
                return IntegrityChecked(self._problem(holders))
            case StopEngine():
                self._stopping = True
                return None

    def _times(self, started_at: float) -> StepTimes:
        previous = self._step_started_at, self._step_ended_at
        self._step_started_at, self._step_ended_at = started_at, self._clock.now()
        return StepTimes(started_at, self._step_ended_at, *previous)

    def _idle_s(self) -> float | None:
        """How long to sleep: until a source is due by itself; None: until the bridge is notified."""
        due_at = self._slots.due_at()
        return max(0.0, due_at - self._clock.now()) if due_at < math.inf else None

    def _problem(self, holders: frozenset[Session]) -> str | None:
        try:
            self.check_integrity()
            assert self._slots.holders() == holders, "slots are held by other sessions than those they were given to"
        except AssertionError as error:
            return str(error)

    def check_integrity(self) -> None:
        """Assert what must hold between ticks."""
        self._slots.check_integrity()
