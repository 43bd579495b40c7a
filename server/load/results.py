"""What comes of a run, as one JSON object: the file, the table, the CSV and the report are all made from it."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from server.load.campaign import Campaign, Step, summary_apart
from server.load.choices import Bar
from server.load.limits import what_ended
from server.load.series import over_time

Results = dict[str, Any]


def results(campaign: Campaign, settings: dict[str, Any], bar: Bar | None) -> Results:
    """All figures. `settings`: what was asked for, to be told with them."""
    begun_at, calls, ended_at = campaign.begun_at, campaign.ledger.calls, time.perf_counter()
    return {
        **settings,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **summary_apart(calls),
        "own_core_share": round(campaign.own_core_share, 3),
        "found": _found(campaign.steps, bar) if bar else None,
        "steps": [_step(step, begun_at) for step in campaign.steps],
        "over_time": _over_time(campaign, begun_at, ended_at),
    }


def _over_time(campaign: Campaign, begun_at: float, ended_at: float) -> list[dict[str, Any]]:
    """`over_time` of the calls without faults, and the model's steps meanwhile."""
    calls = campaign.ledger.calls
    rows = over_time([call for call in calls if not call.is_troubled] or calls, begun_at, ended_at)
    ends_s = [row["at_s"] for row in rows[1:]] + [ended_at - begun_at]
    for row, end_s in zip(rows, ends_s, strict=True):
        row["step_p50_ms"] = campaign.step_ms(begun_at + row["at_s"], begun_at + end_s)
    return rows


def _step(step: Step, begun_at: float) -> dict[str, Any]:
    times = {"from_s": round(step.from_at - begun_at, 2), "to_s": round(step.to_at - begun_at, 2)}
    return {**step.figures, "callers": step.callers, **times, "held": step.held, "server": step.server}


def _found(steps: Sequence[Step], bar: Bar) -> dict[str, Any]:
    """The most callers that the server held, and what ended it at the least that it did not."""
    failed = min((step for step in steps if step.held is False), key=lambda step: step.callers, default=None)
    return {
        "bar": str(bar),
        "callers": max((step.callers for step in steps if step.held), default=0),
        "failed_at": failed.callers if failed else None,
        "ended_by": what_ended(failed.figures, failed.server) if failed else None,
    }


def write_json(file: TextIO, figures: Results) -> None:
    file.write(json.dumps(figures, indent=1, allow_nan=False) + "\n")


def write_csv(file: TextIO, figures: Results) -> None:
    """One line for each stretch of time."""
    writer = csv.DictWriter(file, figures["over_time"][0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures["over_time"])


_NEEDED = {"url", "turnaround_ms", "own_core_share", "interrupted", "found", "steps", "over_time"}


class NoResults(Exception):
    """A file that holds no results of a run; the message names it and says why."""


def read_json(path: Path) -> Results:
    """The results of an earlier run. Raises NoResults."""
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoResults(f"{path} cannot be read as the JSON of a run: {error}") from error
    if not isinstance(figures, dict) or not figures.keys() >= _NEEDED or not figures["over_time"]:
        raise NoResults(f"{path} is JSON, but not what --json writes.")
    return figures
