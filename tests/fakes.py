"""What tests put in the place of time and of the model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from server.audio.framing import Pcm
from server.engine.batch import Batch, StepResult
from server.engine.bridge import Command, Notice
from server.engine.echo_runner import EchoRunner
from server.engine.runner import Pending
from server.sessions.params import SessionParams
from server.sessions.sources import SourceFrame


class FakeClock:
    """Time that goes on when told to."""

    def __init__(self) -> None:
        self._now = 1000.0

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class FakeBridge:
    """A bridge with nobody on the other side: commands are queued by hand, notices collected."""

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
    """An echo that says a word with each frame, writes down what is asked of it and can be made to fail."""

    def __init__(self, slots: int, before_step: Callable[[], object] = lambda: None) -> None:
        super().__init__(slots)
        self.started: list[tuple[int, SessionParams]] = []
        self.batches: list[tuple[int, list[int]]] = []  # rows, and which of them were active
        self.stopped: list[int] = []
        self.moved: list[tuple[int, int]] = []
        self.broken: set[int] = set()  # slots whose numbers are none any more
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
    """A `Source` of frames that are all there from the beginning: one whenever the engine has a row to spare."""

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
        return 0  # nothing is lost: a file waits

    def resume(self, now: float) -> None:
        self._is_paused = False
