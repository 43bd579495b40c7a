"""A run, step by step: so many callers for so long, and what came of it.

Owner: the process that shows the figures; it makes no calls itself. Knows time and the processes of callers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.load.choices import Bar
from server.load.figures import ALWAYS, model_lag, summary
from server.load.ledger import Ledger
from server.load.plan import Plan
from server.load.record import CallRecord
from server.load.server_metrics import Sampler
from server.load.workers import Workers

SETTLES_WITHIN_S = 10.0  # for every new caller to be greeted, or turned away
SETTLES_AFTER_S = 1.0  # more, so that the rush of dialling is over
ANSWERED_WITHIN_S = 1.0  # what is sent in a step's last second belongs to no step: it may not be answered yet
LEAVE_WITHIN_S = 10.0  # for the last callers to hear the rest and hang up
_LOOK_EVERY_S = 0.25


@dataclass
class Step:
    """So many callers, from when they had settled until answers could no longer be waited for."""

    callers: int
    begun_at: float
    from_at: float = 0.0
    to_at: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] | None = None  # what its /metrics said of that time
    held: bool | None = None  # the bar; None: there is none

    def hold(self, bar: Bar) -> bool:
        """Whether these figures keep the bar."""
        p99_ms, late = self.figures["turnaround_ms"]["p99"], self.figures["late_share"]
        if p99_ms is None or self.figures["failed"]:
            return False
        return p99_ms <= bar.p99_ms and 100 * late <= bar.late_percent


class Campaign:
    """`steps` are those that are done; `step` is the one under way."""

    def __init__(self, workers: Workers, sampler: Sampler, look: Callable[[Campaign], None]) -> None:
        """`look` is called several times a second, to show how it goes."""
        self.ledger = Ledger()
        self.steps: list[Step] = []
        self.step: Step | None = None
        self.ends_at: float | None = None  # when the step under way will, as far as that is known
        self.begun_at = time.perf_counter()
        self._workers = workers
        self._begun_cpu_s = workers.cpu_s
        self._sampler = sampler
        self._look = look

    @property
    def own_core_share(self) -> float:
        """What the callers have taken of a core so far, all their processes together."""
        return (self._workers.cpu_s - self._begun_cpu_s) / (time.perf_counter() - self.begun_at)

    def step_ms(self, from_at: float, to_at: float) -> float | None:
        """The median of the model's steps about then, as the server tells."""
        return self._sampler.step_ms(from_at, to_at)

    def once(self, callers: int, talk_s: float) -> None:
        """One call each, all at once, of at most `talk_s`; until they are over."""
        step = self._begin(callers)
        step.from_at, self.ends_at = step.begun_at, step.begun_at + talk_s
        while not self._workers.are_done:
            self._wait(_LOOK_EVERY_S)
        self._end(step, ALWAYS)

    def hold(self, plan: Plan, hold_s: float, bar: Bar | None) -> None:
        """Each step of the plan for `hold_s`, callers calling again and again; then all hang up."""
        held: bool | None = None
        while True:
            try:
                callers = next(plan) if held is None else plan.send(held)
            except StopIteration:
                break
            held = self._hold(callers, hold_s, bar)
        self.leave()

    def interrupt(self) -> None:
        """End the step under way with what there is, and let everyone leave."""
        if self.step and self.step.from_at:
            self._end(self.step, (self.step.from_at, time.perf_counter() - ANSWERED_WITHIN_S))
        self.leave()

    def leave(self) -> None:
        """Let everyone hear the rest and hang up."""
        self.step, self.ends_at = None, None
        self._workers.resize(0)
        deadline = time.perf_counter() + LEAVE_WITHIN_S
        while not self._workers.are_done and time.perf_counter() < deadline:
            self._wait(_LOOK_EVERY_S)

    def _hold(self, callers: int, hold_s: float, bar: Bar | None) -> bool:
        step = self._begin(callers)
        deadline = step.begun_at + SETTLES_WITHIN_S
        while (self.ledger.awaited(callers) or self._workers.callers != callers) and time.perf_counter() < deadline:
            self._wait(_LOOK_EVERY_S)
        self._wait(SETTLES_AFTER_S)
        step.from_at = time.perf_counter()
        self.ends_at = step.from_at + hold_s
        while (left_s := self.ends_at - time.perf_counter()) > 0:
            self._wait(min(left_s, _LOOK_EVERY_S))
        self._wait(ANSWERED_WITHIN_S)
        self._end(step, (step.from_at, self.ends_at))
        step.held = step.hold(bar) if bar else None
        return step.held is not False

    def _begin(self, callers: int) -> Step:
        self.step, self.ends_at = Step(callers, time.perf_counter()), None
        self._workers.resize(callers)
        return self.step

    def _end(self, step: Step, span: tuple[float, float]) -> None:
        step.to_at = min(time.perf_counter(), span[1])
        step.figures = summary_apart(self.ledger.calls, span)
        step.server = self._sampler.between(step.from_at, step.to_at)
        self.steps.append(step)
        self.step = None

    def _wait(self, seconds: float) -> None:
        self.ledger.add(self._workers.receive(seconds))
        self._look(self)


def summary_apart(calls: Sequence[CallRecord], span: tuple[float, float] = ALWAYS) -> dict[str, Any]:
    """The figures of calls without faults, and under `with_faults` of those that have them, if there are such."""
    there = [call for call in calls if _is_there(call, span)]
    lag = model_lag(calls)
    troubled = [call for call in there if call.is_troubled]
    well = [call for call in there if not call.is_troubled]
    if not troubled:
        return summary(well, span, lag)
    return summary(well or troubled, span, lag) | {"with_faults": summary(troubled, span, lag)}


def _is_there(call: CallRecord, span: tuple[float, float]) -> bool:
    return call.dialled_at is not None and call.dialled_at < span[1] and (call.over_at or span[0]) >= span[0]
