"""What it would be worth if the engine waited a little for more callers: the real engine, on a virtual clock.

Callers speak every 80 ms, each at a phase of their own, as microphones do. A step takes what the table says; the engine
begins one as soon as any caller has a frame, or so many milliseconds after the first of them came.
"""

from __future__ import annotations

import heapq
import random
import statistics
from dataclasses import dataclass, field, replace

import numpy as np

from model.execution.stepper import are_few
from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.engine.batch import Batch, StepResult
from server.engine.bridge import OpenSession, Stepped
from server.engine.echo_runner import EchoRunner
from server.engine.engine import Engine
from server.engine.runner import Pending
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench
from tests.fakes import FakeBridge, FakeClock

WAITS_MS = (0, 5, 10, 20)
TALK_S = 10.0
_JITTER_S = 0.005  # of a microphone, and of a network that is near
_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


@dataclass(frozen=True, slots=True)
class Model:
    """How long a step takes, by the rows that are computed and those of them that hold a frame."""

    name: str
    callers: tuple[int, ...]
    rows_ms: dict[int, float]  # by rows that are computed
    used_ms: float  # more, for each that holds a frame
    is_apart: bool  # whether few rows are stepped by themselves

    def computes(self, batch: Batch) -> int:
        used, count = int(batch.active.sum()), len(batch.active)
        return used if self.is_apart and are_few(used, count) else count

    def step_s(self, batch: Batch) -> float:
        rows_ms = np.interp(self.computes(batch), [*self.rows_ms], [*self.rows_ms.values()])
        return float(rows_ms + self.used_ms * batch.active.sum()) / 1e3


_DEMO_MS = {1: 12.1, 2: 11.2, 4: 15.3, 8: 23.1, 16: 34.6}
MODELS = (
    # model/README.md, measured; with idle rows computed, and as it is: copied apart, at 0.3 ms
    Model("demo, all rows", (4, 8, 16), _DEMO_MS, 0.0, is_apart=False),
    Model("demo", (1, 2, 4, 8, 16), _DEMO_MS, 0.3, is_apart=True),
    # `parley plan --gpu h200`: weights and launches once, keys and codec of those who speak
    Model("7B, H200 by the plan", (1, 4, 16, 64), {1: 5.9}, 0.485, is_apart=False),
)


class _Timed(EchoRunner):
    def __init__(self, slots: int, model: Model, clock: FakeClock) -> None:
        super().__init__(slots)
        self._model, self._clock = model, clock
        self.busy_s = 0.0

    def submit(self, batch: Batch) -> Pending:
        step_s = self._model.step_s(batch)
        result = replace(super().submit(batch)(), computed=self._model.computes(batch))

        def end() -> StepResult:
            self._clock.advance(step_s)
            self.busy_s += step_s
            return result

        return end


@dataclass
class Outcome:
    """What came of one talk."""

    turnaround_ms: list[float] = field(default_factory=list)
    rows: int = 0
    busy_share: float = 0.0

    @property
    def cells(self) -> str:
        p50, p99 = np.percentile(self.turnaround_ms, (50, 99))
        per_used = self.rows / len(self.turnaround_ms)
        return f"{p50:.0f} · {p99:.0f} ms, busy {self.busy_share:.0%}, {per_used:.1f} rows for one used"


def measure(bench: Workbench) -> Part:
    bench.say("waiting for companions, on a virtual clock")
    rows, figures = [], {}
    for model in MODELS:
        for callers in model.callers:
            for wait_ms in WAITS_MS:
                outcome = talk(model, callers, wait_ms / 1e3)
                rows.append(Row(f"{model.name}: {callers}, waiting {wait_ms} ms", outcome.cells))
                figures[f"{model.name} {callers} {wait_ms}"] = {
                    "turnaround_ms": statistics.quantiles(outcome.turnaround_ms, n=100),
                    "rows_per_used": outcome.rows / len(outcome.turnaround_ms),
                    "busy_share": outcome.busy_share,
                }
    return Part("Waiting for companions: turnaround p50 · p99, and how busy the device is", rows, figures)


def talk(model: Model, callers: int, wait_s: float) -> Outcome:
    """Let so many talk for `TALK_S`."""
    clock, bridge, outcome = FakeClock(), FakeBridge(), Outcome()
    runner = _Timed(callers, model, clock)
    engine = Engine(lambda: runner, bridge, clock)  # type: ignore[arg-type]
    engine.set_up(runner)
    sessions = [Session(SessionParams(), clock) for _ in range(callers)]
    bridge.queued += [OpenSession(session) for session in sessions]
    engine.tick()
    begun_at, dice = clock.now(), random.Random(1)
    coming = [(begun_at + dice.random() * FRAME_S, row) for row in range(callers)]
    heapq.heapify(coming)
    due = {row: at for at, row in coming}  # by the microphone, without the jitter
    waits_since: float | None = None
    while clock.now() < begun_at + TALK_S:
        while coming[0][0] <= clock.now():
            at, row = heapq.heappop(coming)
            sessions[row].inbox.offer(_SILENCE, at)
            waits_since = at if waits_since is None else waits_since
            due[row] += FRAME_S
            heapq.heappush(coming, (max(at, due[row] + dice.random() * _JITTER_S), row))
        starts_at = np.inf if waits_since is None else waits_since + wait_s
        if starts_at > clock.now():
            clock.advance(max(min(starts_at, coming[0][0]) - clock.now(), 1e-9))
            continue
        waits_since = None
        for _ in range(2):  # the step, and its telling
            engine.tick()
        for notice in (notice for post in bridge.posts for notice in post if isinstance(notice, Stepped)):
            outcome.rows += notice.rows
            outcome.turnaround_ms += [1e3 * (reply.wait_s + reply.step_s) for _, reply in notice.replies]
        bridge.posts.clear()
    outcome.busy_share = runner.busy_s / (clock.now() - begun_at)
    return outcome
