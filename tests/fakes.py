"""Fakes of the clock, the engine's bridge, the model, a source and a connection, each with the real interface."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np

from server.audio.framing import Pcm
from server.engine.batch import Batch, StepResult
from server.engine.bridge import Command, Notice
from server.engine.echo_runner import EchoRunner
from server.engine.runner import Pending
from server.errors import ClientClosed
from server.sessions.params import SessionParams
from server.sessions.session import Session
from server.sessions.sources import SourceFrame


class FakeClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self) -> None:
        self._now = 1000.0

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class FakeBridge:
    """A bridge without an event loop: tests queue commands by hand and read the notices from `posts`."""

    def __init__(self) -> None:
        self.queued: list[Command] = []
        self.posts: list[Sequence[Notice]] = []
        self.waits_s: list[float | None] = []

    def commands(self) -> list[Command]:
        queued, self.queued = self.queued, []
        return queued

    def post(self, notices: Sequence[Notice]) -> None:
        self.posts.append(notices)

    def wait(self, timeout_s: float | None) -> None:
        self.waits_s.append(timeout_s)


class TalkingRunner(EchoRunner):
    """An echo that adds a text piece to each frame, records the calls of its methods and can be made to fail."""

    def __init__(self, slots: int, before_step: Callable[[], object] = lambda: None) -> None:
        super().__init__(slots)
        self.started: list[tuple[int, SessionParams]] = []
        self.batches: list[tuple[int, list[int]]] = []  # number of rows, and which of them were active
        self.stopped: list[int] = []
        self.moved: list[tuple[int, int]] = []
        self.broken: set[int] = set()  # slots whose output counts as NaN
        self.warmed_up = self.closed = False
        self._before_step = before_step

    def warm_up(self) -> None:
        self.warmed_up = True

    def start(self, slot: int, params: SessionParams) -> None:
        self.started.append((slot, params))

    def stop(self, slot: int) -> None:
        self.stopped.append(slot)

    def move(self, source: int, target: int) -> None:
        self.moved.append((source, target))

    def submit(self, batch: Batch) -> Pending:
        def step() -> StepResult:
            self._before_step()
            rows = len(batch.active)
            self.batches.append((rows, np.flatnonzero(batch.active).tolist()))
            finite = np.array([slot not in self.broken for slot in range(rows)])
            return StepResult(batch.pcm.copy(), batch.active.copy(), [" word"] * rows, finite, rows)

        return step

    def close(self) -> None:
        self.closed = True


class FileSource:
    """A `Source` of frames that are all due at once: the engine takes one in each step."""

    def __init__(self, frames: Sequence[Pcm]) -> None:
        self._left = deque(frames)
        self._is_paused = False

    @property
    def due_at(self) -> float:
        return -math.inf if self._left and not self._is_paused else math.inf

    def take(self, now: float) -> SourceFrame | None:
        return SourceFrame(self._left.popleft(), now) if self.due_at <= now else None

    def pause(self) -> int:
        self._is_paused = True
        return 0  # nothing is discarded: a file can wait

    def resume(self, now: float) -> None:
        self._is_paused = False


class FakeConnection:
    """A connection's hold on a session, without a socket."""

    def __init__(self, admission: AbstractContextManager[Session]) -> None:
        """`admission` comes from `Calls.admit` or `Calls.resume`, whose errors are raised."""
        self._admission = admission
        self.session = admission.__enter__()
        self.outbox = self.session.outbox  # a resumed session has another one

    def hang_up(self, why: ClientClosed) -> None:
        """End or park the session, then release it."""
        self.session.on_connection_closed(self.outbox, why)
        self.release()

    def release(self) -> None:
        """Leave the session, as the socket's handler does when it returns."""
        self._admission.__exit__(None, None, None)
