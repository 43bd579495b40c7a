"""The engine's turn: one thread that owns the runner and steps every call at once.

Work-conserving: as soon as a step ends the next one takes every slot that holds a whole frame; when none
does the thread sleeps until one comes. Owner: engine thread, but for the constructor. Knows no event loop
and no socket.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from server.engine.bridge import (
    Bridge,
    Close,
    Closed,
    Command,
    Failed,
    Notice,
    Open,
    Opened,
    Ready,
    Stepped,
    Stop,
)
from server.engine.clock import Clock
from server.engine.runner import Runner
from server.engine.slots import Slots, Times

log = logging.getLogger(__name__)


class Engine:
    """Makes a runner, warms it up and steps it until told to stop or until it fails."""

    def __init__(self, make_runner: Callable[[], Runner], bridge: Bridge, clock: Clock) -> None:
        """`make_runner` runs on the engine thread: it may take minutes."""
        self._make_runner = make_runner
        self._bridge = bridge
        self._clock = clock
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

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
            log.debug("engine failed", exc_info=True)
            self._bridge.post([Failed(str(error) or type(error).__name__)])

    def set_up(self, runner: Runner) -> None:
        """Warm `runner` up and say so."""
        self._runner = runner
        self._slots = Slots(runner.slots)
        self._step_started_at = self._step_ended_at = float("-inf")
        runner.warm_up()
        self._bridge.post([Ready(runner.card)])

    def tick(self) -> None:
        """One turn: commands, a step if anyone has a frame, one post of all there is to tell; else sleep."""
        notices = [notice for command in self._bridge.commands() if (notice := self._apply(command))]
        batch = self._slots.gather(self._clock.now())
        if batch is not None:
            started_at = self._clock.now()
            result = self._runner.step(batch)
            notices.append(Stepped(self._slots.scatter(result, self._times(started_at))))
        if notices:
            self._bridge.post(notices)
        elif not self._stopping:
            self._bridge.wait(self._idle_s())

    def _apply(self, command: Command) -> Notice | None:
        match command:
            case Open(session):
                slot = self._slots.take(session)
                self._runner.start(slot, session.params)
                return Opened(session)
            case Close(session):
                self._runner.stop(self._slots.free(session))
                return Closed(session)
            case Stop():
                self._stopping = True
                return None

    def _times(self, started_at: float) -> Times:
        previous = self._step_started_at, self._step_ended_at
        self._step_started_at, self._step_ended_at = started_at, self._clock.now()
        return Times(started_at, self._step_ended_at, *previous)

    def _idle_s(self) -> float | None:
        """How long until a standing microphone is due a frame of silence; None: until someone rings."""
        due_at = self._slots.silence_due_at()
        return None if due_at is None else max(0.0, due_at - self._clock.now())

    def check_integrity(self) -> None:
        """Assert what must hold between ticks."""
        self._slots.check_integrity()
