"""The table of load steps, which the terminal and the HTML report both show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server.load.formats import MISSING, count, percent


@dataclass(frozen=True, slots=True)
class StepTable:
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]  # one for each load step, a cell for each heading
    missed: Sequence[bool]  # by load step: whether it missed the target


def step_table(steps: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]] | None = None) -> StepTable:
    """`steps` as in the JSON; `earlier`: those of another run, whose p99 is shown beside."""
    columns = dict(_COLUMNS)
    if earlier is not None:
        before = {step["callers"]: step["turnaround_ms"]["p99"] for step in earlier}
        columns["p99 before"] = lambda step: _number(before.get(step["callers"]))
    if any(step["passed"] is not None for step in steps):
        columns["target"] = lambda step: {True: "met", False: "missed", None: MISSING}[step["passed"]]
    rows = [[cell(step) for cell in columns.values()] for step in steps]
    return StepTable(list(columns), rows, [step["passed"] is False for step in steps])


def _number(value_ms: float | None) -> str:
    return MISSING if value_ms is None else f"{value_ms:,.1f}"


def _turnaround(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda step: _number(step["turnaround_ms"][name])


def _of_server(cell: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    """A cell that needs the server's own figures."""
    return lambda step: cell(step["server"]) if step["server"] else MISSING


_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "callers": lambda step: count(step["callers"]),
    "p50 ms": _turnaround("p50"),
    "p95 ms": _turnaround("p95"),
    "p99 ms": _turnaround("p99"),
    "late": lambda step: percent(step["late_share"]),
    "missing": lambda step: count(step["frames_missing"]),
    "gaps": lambda step: count(step["packet_gaps"]),
    "underruns": lambda step: count(step["underruns"]),
    "failed": lambda step: count(step["failed"]),
    "step ms": _of_server(lambda server: _number(server["step_ms"]["p50"])),
    "loop ms": _of_server(lambda server: _number(server["loop_lag_ms"]["p99"])),
    "CPU": _of_server(lambda server: percent(server["cpu_share"])),
}
