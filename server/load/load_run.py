"""A run, load step by load step: a number of callers for some time, and the figures of that time.

Owner: the process that shows the figures; it makes no calls itself. Knows time and the worker processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.load.argument_types import ServiceTarget
from server.load.call_log import CallLog
from server.load.call_record import CallRecord
from server.load.figures import ALWAYS, model_lag, summary
from server.load.load_plan import LoadPlan
from server.load.server_metrics import MetricsSampler
from server.load.workers import Workers

SETTLE_TIMEOUT_S = 10.0  # for every new caller to get its handshake, or a refusal
SETTLE_MARGIN_S = 1.0  # after that, until the burst of new connections is over
ANSWER_MARGIN_S = 1.0  # what is sent in a load step's last second belongs to none: it may not be answered yet
LEAVE_TIMEOUT_S = 10.0  # for the last callers to receive the remaining answers and hang up
_POLL_S = 0.25


@dataclass
class LoadStep:
    """A number of callers, from when they had settled until answers could no longer be waited for."""

    callers: int
    started_at: float
    from_at: float = 0.0
    to_at: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] | None = None  # the server's own figures of that time, from its /metrics
    passed: bool | None = None  # None: there is no target

    def as_json(self, run_started_at: float) -> dict[str, Any]:
        times = {"from_s": round(self.from_at - run_started_at, 2), "to_s": round(self.to_at - run_started_at, 2)}
        return {**self.figures, "callers": self.callers, **times, "passed": self.passed, "server": self.server}

    def meets(self, target: ServiceTarget) -> bool:
        p99_ms, late = self.figures["turnaround_ms"]["p99"], self.figures["late_share"]
        if p99_ms is None or self.figures["failed"]:
            return False
        return p99_ms <= target.p99_ms and 100 * late <= target.late_percent


class LoadRun:
    """`steps` are the load steps that are done; `step` is the one in progress."""

    def __init__(self, workers: Workers, sampler: MetricsSampler, on_progress: Callable[[LoadRun], None]) -> None:
        """`on_progress` is called several times a second."""
        self.log = CallLog()
        self.steps: list[LoadStep] = []
        self.step: LoadStep | None = None
        self.ends_at: float | None = None  # of the step in progress, as far as that is known
        self.started_at = time.perf_counter()
        self._workers = workers
        self._initial_cpu_s = workers.cpu_s
        self._sampler = sampler
        self._on_progress = on_progress

    @property
    def client_core_share(self) -> float:
        """CPU time of all worker processes, as a share of one core."""
        return (self._workers.cpu_s - self._initial_cpu_s) / (time.perf_counter() - self.started_at)

    def model_step_ms(self, from_at: float, to_at: float) -> float | None:
        """The median of the model's steps around that time, from the server's metrics."""
        return self._sampler.model_step_ms(from_at, to_at)

    def run_once(self, callers: int, call_s: float) -> None:
        """One call of at most `call_s` for each caller, all at once; returns when they are over."""
        step = self._begin(callers)
        step.from_at, self.ends_at = step.started_at, step.started_at + call_s
        while not self._workers.are_done:
            self._wait(_POLL_S)
        self._end(step, ALWAYS)

    def run_plan(self, plan: LoadPlan, hold_s: float, target: ServiceTarget | None) -> None:
        """Each load step of the plan for `hold_s`, with callers that call again and again; then all hang up."""
        passed: bool | None = None
        while True:
            try:
                callers = next(plan) if passed is None else plan.send(passed)
            except StopIteration:
                break
            passed = self._run_step(callers, hold_s, target)
        self._leave()

    def interrupt(self) -> None:
        """End the load step in progress with the figures so far, and let all callers leave."""
        if self.step and self.step.from_at:
            self._end(self.step, (self.step.from_at, time.perf_counter() - ANSWER_MARGIN_S))
        self._leave()

    def _leave(self) -> None:
        """Let all callers receive the remaining answers and hang up."""
        self.step, self.ends_at = None, None
        self._workers.resize(0)
        deadline = time.perf_counter() + LEAVE_TIMEOUT_S
        while not self._workers.are_done and time.perf_counter() < deadline:
            self._wait(_POLL_S)

    def _run_step(self, callers: int, hold_s: float, target: ServiceTarget | None) -> bool:
        """Returns False only if the load step missed the target."""
        step = self._begin(callers)
        deadline = step.started_at + SETTLE_TIMEOUT_S
        while (self.log.unsettled(callers) or self._workers.callers != callers) and time.perf_counter() < deadline:
            self._wait(_POLL_S)
        self._wait(SETTLE_MARGIN_S)
        step.from_at = time.perf_counter()
        self.ends_at = step.from_at + hold_s
        while (remaining_s := self.ends_at - time.perf_counter()) > 0:
            self._wait(min(remaining_s, _POLL_S))
        self._wait(ANSWER_MARGIN_S)
        self._end(step, (step.from_at, self.ends_at))
        step.passed = step.meets(target) if target else None
        return step.passed is not False

    def _begin(self, callers: int) -> LoadStep:
        self.step, self.ends_at = LoadStep(callers, time.perf_counter()), None
        self._workers.resize(callers)
        return self.step

    def _end(self, step: LoadStep, span: tuple[float, float]) -> None:
        step.to_at = min(time.perf_counter(), span[1])
        step.figures = summary_without_faults(self.log.calls, span)
        step.server = self._sampler.between(step.from_at, step.to_at)
        self.steps.append(step)
        self.step = None

    def _wait(self, seconds: float) -> None:
        self.log.add(self._workers.receive(seconds))
        self._on_progress(self)


def summary_without_faults(calls: Sequence[CallRecord], span: tuple[float, float] = ALWAYS) -> dict[str, Any]:
    """The figures of calls without injected faults; those of calls with faults, if any, under `with_faults`."""
    active = [call for call in calls if _is_active(call, span)]
    lag = model_lag(calls)
    faulty = [call for call in active if call.has_faults]
    sound = [call for call in active if not call.has_faults]
    if not faulty:
        return summary(sound, span, lag)
    return summary(sound or faulty, span, lag) | {"with_faults": summary(faulty, span, lag)}


def _is_active(call: CallRecord, span: tuple[float, float]) -> bool:
    return call.started_at is not None and call.started_at < span[1] and (call.ended_at or span[0]) >= span[0]
