"""What is shown while a run goes on: on a terminal a table that lives, elsewhere a line for each step that is done."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from server.load.campaign import Campaign
from server.load.figures import call_figures, due_at, late_share, lateness_ms, model_lag, percentiles
from server.load.table import STEP_COLUMNS, share, spread, step_cells

_SHOWS_EVERY_S = 1.0
_LOOKS_BACK_S = 5.0
_TOLD_AFTER_S = 1.0  # what was sent since then may not be answered yet


class Display:
    """Use as a context; `look` is called often."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._shown_at = float("-inf")
        self._told = 0  # steps

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def look(self, campaign: Campaign) -> None:
        """Show how it goes, if that was not shown just now."""
        now = time.perf_counter()
        if not self._console.is_terminal:
            for step in campaign.steps[self._told :]:
                figures = step.figures
                told = f"{spread(figures['turnaround_ms'])}, {share(figures['late_share'])} late"
                self._console.print(f"callers {step.callers}: {told}, {figures['failed']} failed", soft_wrap=True)
            self._told = len(campaign.steps)
        elif now - self._shown_at > _SHOWS_EVERY_S:
            self._live.update(Group(_steps(campaign), _present(campaign, now)), refresh=True)
            self._shown_at = time.perf_counter()


def _steps(campaign: Campaign) -> Table:
    table = Table(box=None, header_style="dim")
    for name in STEP_COLUMNS:
        table.add_column(name, justify="right")
    for step in campaign.steps:
        cells = {**step.figures, "callers": step.callers, "server": step.server, "held": step.held}
        table.add_row(*step_cells(cells), style="red" if step.held is False else "")
    return table


def _present(campaign: Campaign, now: float) -> Text:
    """The last few seconds, in a line or two."""
    step, recent = campaign.step, _recent(campaign, now)
    callers = f"callers: {step.callers}" if step else "the last ones hear the rest"
    left = f", {max(0, campaign.ends_at - now):.0f} s left" if campaign.ends_at else ", settling" if step else ""
    turnaround = f"turnaround {spread(recent['turnaround_ms'])}, {share(recent['late_share'])} late"
    own = f"own lateness p99 {recent['own_p99_ms'] or 0:.1f} ms"
    return Text(f"{callers}{left}\n{turnaround} · {own}", style="bold" if step else "dim")


def _recent(campaign: Campaign, now: float) -> dict[str, Any]:
    since, until = now - _LOOKS_BACK_S - _TOLD_AFTER_S, now - _TOLD_AFTER_S
    calls = [call for call in campaign.ledger.calls if (call.over_at or now) > since]
    lag = model_lag(calls)
    turnaround, own = [np.empty(0)], [np.empty(0)]
    for call in calls:
        figures = call_figures(call, lag)
        turnaround.append(figures.turnaround_ms[(figures.sent_at >= since) & (figures.sent_at < until)])
        own.append(lateness_ms(call)[due_at(call) >= since])
    sent_ms = np.concatenate(turnaround)
    return {
        "turnaround_ms": percentiles(sent_ms[~np.isnan(sent_ms)]),
        "late_share": late_share(sent_ms),
        "own_p99_ms": percentiles(np.concatenate(own))["p99"],
    }
