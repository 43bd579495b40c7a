"""What is shown during a run: on a terminal a live table, elsewhere a line for each completed load step."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from server.load.figures import call_figures, due_at, late_share, lateness_ms, model_lag, percentiles
from server.load.formats import callers, percent, spread
from server.load.load_run import LoadRun
from server.load.step_table import step_table

_REFRESH_INTERVAL_S = 1.0
_RECENT_S = 5.0
_ANSWER_MARGIN_S = 1.0  # what was sent in the last second may not be answered yet


class Display:
    """Use as a context manager; `update` is called often."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._refreshed_at = float("-inf")
        self._printed_steps = 0

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, load_run: LoadRun) -> None:
        """Show the progress, unless it was shown just now."""
        now = time.perf_counter()
        if not self._console.is_terminal:
            for step in load_run.steps[self._printed_steps :]:
                figures = step.figures
                turnaround = f"{spread(figures['turnaround_ms'])}, {percent(figures['late_share'])} late"
                self._console.print(
                    f"{callers(step.callers)}: {turnaround}, {figures['failed']} failed", soft_wrap=True
                )
            self._printed_steps = len(load_run.steps)
        elif now - self._refreshed_at > _REFRESH_INTERVAL_S:
            self._live.update(Group(_steps(load_run), _current(load_run, now)), refresh=True)
            self._refreshed_at = time.perf_counter()


def _steps(load_run: LoadRun) -> Table:
    steps = step_table([step.as_json(load_run.started_at) for step in load_run.steps])
    table = Table(box=None, header_style="dim")
    for heading in steps.headings:
        table.add_column(heading, justify="right")
    for cells, missed in zip(steps.rows, steps.missed, strict=True):
        table.add_row(*cells, style="red" if missed else "")
    return table


def _current(load_run: LoadRun, now: float) -> Text:
    """The last few seconds, in two lines."""
    step, recent = load_run.step, _recent(load_run, now)
    state = callers(step.callers) if step else "waiting for the last answers"
    left = f", {max(0, load_run.ends_at - now):.0f} s left" if load_run.ends_at else ", settling" if step else ""
    turnaround = f"turnaround {spread(recent['turnaround_ms'])}, {percent(recent['late_share'])} late"
    lateness = f"client lateness p99 {recent['client_p99_ms'] or 0:.1f} ms"
    return Text(f"{state}{left}\n{turnaround} · {lateness}", style="bold" if step else "dim")


def _recent(load_run: LoadRun, now: float) -> dict[str, Any]:
    since, until = now - _RECENT_S - _ANSWER_MARGIN_S, now - _ANSWER_MARGIN_S
    calls = [call for call in load_run.log.calls if (call.ended_at or now) > since]
    lag = model_lag(calls)
    turnaround, lateness = [np.empty(0)], [np.empty(0)]
    for call in calls:
        figures = call_figures(call, lag)
        turnaround.append(figures.turnaround_ms[(figures.sent_at >= since) & (figures.sent_at < until)])
        lateness.append(lateness_ms(call)[due_at(call) >= since])
    sent_ms = np.concatenate(turnaround)
    return {
        "turnaround_ms": percentiles(sent_ms[~np.isnan(sent_ms)]),
        "late_share": late_share(sent_ms),
        "client_p99_ms": percentiles(np.concatenate(lateness))["p99"],
    }
