"""The gain if the engine waited for more callers before each step, by the real engine on a virtual clock.

Callers send a frame every 80 ms, each at its own phase, as microphones do. The duration of a step comes from a table;
the engine starts a step as soon as any caller has a frame, or a number of milliseconds after the first frame came.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace

import numpy as np

from model.execution.stepper import should_compact
from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.engine.batch import Batch, StepResult
from server.engine.bridge import OpenSession, Stepped
from server.engine.echo_runner import EchoRunner
from server.engine.engine import Engine
from server.engine.runner import Pending
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench
from tests.fakes import FakeBridge, FakeClock

WAITS_MS = (0, 5, 10, 20)
TALK_S = 10.0
_JITTER_S = 0.005  # of a microphone and a near network
_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """How long a step takes, by the number of rows computed and the number of those that hold a frame."""

    name: str
    callers: tuple[int, ...]
    rows_ms: dict[int, float]  # by rows computed
    used_ms: float  # additional, for each row that holds a frame
    is_apart: bool  # whether a few active rows are copied and stepped apart

    def rows_computed(self, batch: Batch) -> int:
        used, count = int(batch.active.sum()), len(batch.active)
        return used if self.is_apart and should_compact(used, count) else count

    def step_s(self, batch: Batch) -> float:
        rows_ms = np.interp(self.rows_computed(batch), [*self.rows_ms], [*self.rows_ms.values()])
        return float(rows_ms + self.used_ms * batch.active.sum()) / 1e3


_DEMO_MS = {1: 12.1, 2: 11.2, 4: 15.3, 8: 23.1, 16: 34.6}
MODELS = (
    # measured, see model/README.md: with idle rows computed, and as served (a few rows copied apart, 0.3 ms each)
    SimulatedModel("demo, all rows", (4, 8, 16), _DEMO_MS, 0.0, is_apart=False),
    SimulatedModel("demo", (1, 2, 4, 8, 16), _DEMO_MS, 0.3, is_apart=True),
    # `parley plan --gpu h200`: weights and launches once, keys and codec for each active row
    SimulatedModel("7B, H200 by the plan", (1, 4, 16, 64), {1: 5.9}, 0.485, is_apart=False),
)


class _Timed(EchoRunner):
    def __init__(self, slots: int, model: SimulatedModel, clock: FakeClock) -> None:
        super().__init__(slots)
        self._model, self._clock = model, clock
        self.busy_s = 0.0

    def submit(self, batch: Batch) -> Pending:
        step_s = self._model.step_s(batch)
        result = replace(super().submit(batch)(), computed=self._model.rows_computed(batch))

        def end() -> StepResult:
            self._clock.advance(step_s)
            self.busy_s += step_s
            return result

        return end


@dataclass
class BatchingResult:
    """The figures of one simulated run."""

    turnaround_ms: list[float] = field(default_factory=list)
    rows: int = 0
    busy_share: float = 0.0

    @property
    def cells(self) -> str:
        p50, p99 = np.percentile(self.turnaround_ms, (50, 99))
        per_used = self.rows / len(self.turnaround_ms)
        return f"{p50:.0f} · {p99:.0f} ms, busy {self.busy_share:.0%}, {per_used:.1f} rows per row used"


def measure(bench: Workbench) -> BenchPart:
    bench.say("waiting for fuller batches, on a virtual clock")
    rows, figures = [], {}
    for model in MODELS:
        for callers in model.callers:
            for wait_ms in WAITS_MS:
                result = simulate(model, callers, wait_ms / 1e3)
                rows.append(BenchRow(f"{model.name}: {callers} callers, wait {wait_ms} ms", result.cells))
                figures[f"{model.name} {callers} {wait_ms}"] = {
                    "turnaround_ms": np.percentile(result.turnaround_ms, range(1, 100)).tolist(),
                    "rows_per_used": result.rows / len(result.turnaround_ms),
                    "busy_share": result.busy_share,
                }
    return BenchPart("Waiting for fuller batches: turnaround p50 · p99, and how busy the device is", rows, figures)


def simulate(model: SimulatedModel, callers: int, wait_s: float) -> BatchingResult:
    """Simulate `callers` for `TALK_S`."""
    clock, bridge, result = FakeClock(), FakeBridge(), BatchingResult()
    runner = _Timed(callers, model, clock)
    engine = Engine(lambda: runner, bridge, clock)  # type: ignore[arg-type]
    engine.set_up(runner)
    sessions = [Session(SessionParams(), clock) for _ in range(callers)]
    bridge.queued += [OpenSession(session) for session in sessions]
    engine.tick()
    started_at, rng = clock.now(), random.Random(1)
    coming = [(started_at + rng.random() * FRAME_S, row) for row in range(callers)]
    heapq.heapify(coming)
    due = {row: at for at, row in coming}  # by the microphone, without the jitter
    waits_since: float | None = None
    while clock.now() < started_at + TALK_S:
        while coming[0][0] <= clock.now():
            at, row = heapq.heappop(coming)
            sessions[row].inbox.offer(_SILENCE, at)
            waits_since = at if waits_since is None else waits_since
            due[row] += FRAME_S
            heapq.heappush(coming, (max(at, due[row] + rng.random() * _JITTER_S), row))
        starts_at = np.inf if waits_since is None else waits_since + wait_s
        if starts_at > clock.now():
            clock.advance(max(min(starts_at, coming[0][0]) - clock.now(), 1e-9))
            continue
        waits_since = None
        for _ in range(2):  # the step, and its notices
            engine.tick()
        for notice in (notice for post in bridge.posts for notice in post if isinstance(notice, Stepped)):
            result.rows += notice.rows
            result.turnaround_ms += [1e3 * (reply.wait_s + reply.step_s) for _, reply in notice.replies]
        bridge.posts.clear()
    result.busy_share = runner.busy_s / (clock.now() - started_at)
    return result
