"""The results of a run as one JSON object: the file, the printed text, the CSV and the HTML report are made from it."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from server.load.argument_types import ServiceTarget
from server.load.diagnosis import bottleneck
from server.load.load_run import LoadRun, LoadStep, summary_without_faults
from server.load.series import over_time

Results = dict[str, Any]


def results(load_run: LoadRun, settings: dict[str, Any], target: ServiceTarget | None) -> Results:
    """All figures. `settings`: what was asked for, which is kept beside them."""
    started_at, calls, ended_at = load_run.started_at, load_run.log.calls, time.perf_counter()
    return {
        **settings,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **summary_without_faults(calls),
        "client_core_share": round(load_run.client_core_share, 3),
        "search": _search_result(load_run.steps, target) if target else None,
        "steps": [step.as_json(started_at) for step in load_run.steps],
        "over_time": _over_time(load_run, started_at, ended_at),
    }


def _over_time(load_run: LoadRun, started_at: float, ended_at: float) -> list[dict[str, Any]]:
    """`over_time` of the calls without faults, with the model's step at that time."""
    calls = load_run.log.calls
    rows = over_time([call for call in calls if not call.has_faults] or calls, started_at, ended_at)
    ends_s = [row["at_s"] for row in rows[1:]] + [ended_at - started_at]
    for row, end_s in zip(rows, ends_s, strict=True):
        row["step_p50_ms"] = load_run.model_step_ms(started_at + row["at_s"], started_at + end_s)
    return rows


def _search_result(steps: Sequence[LoadStep], target: ServiceTarget) -> dict[str, Any]:
    """The most callers that passed, and the bottleneck at the fewest that failed."""
    failed = min((step for step in steps if step.passed is False), key=lambda step: step.callers, default=None)
    return {
        "target": str(target),
        "callers": max((step.callers for step in steps if step.passed), default=0),
        "failed_at": failed.callers if failed else None,
        "bottleneck": bottleneck(failed.figures, failed.server) if failed else None,
    }


def write_json(file: TextIO, figures: Results) -> None:
    file.write(json.dumps(figures, indent=1, allow_nan=False) + "\n")


def write_csv(file: TextIO, figures: Results) -> None:
    """One line for each interval of time."""
    writer = csv.DictWriter(file, figures["over_time"][0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures["over_time"])


_REQUIRED_KEYS = {"url", "turnaround_ms", "client_core_share", "interrupted", "search", "steps", "over_time"}


class InvalidResults(Exception):
    """A file does not hold the results of a run; the message names it and says why."""


def read_json(path: Path) -> Results:
    """The results of an earlier run. Raises InvalidResults."""
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidResults(f"{path} cannot be read as the JSON of a run: {error}") from error
    if not isinstance(figures, dict) or not figures.keys() >= _REQUIRED_KEYS or not figures["over_time"]:
        raise InvalidResults(f"{path} is JSON, but was not written by --json.")
    return figures
