"""The results, as a table for people and as JSON for programs, with a description of the machine."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One line of the table. `met` is None if there is no target, or no reference to compare with."""

    name: str
    parley: str
    reference: str = ""
    target: str = ""
    met: bool | None = None


@dataclass(slots=True)
class BenchPart:
    """One part of the benchmark: its lines, and the numbers behind them."""

    title: str
    rows: list[BenchRow] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None  # why it could not be measured

    @property
    def is_met(self) -> bool:
        return self.failure is None and all(row.met is not False for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": self.is_met}


def machine() -> dict[str, Any]:
    """The machine and the versions that the figures depend on."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def table(parts: list[BenchPart], facts: dict[str, Any]) -> str:
    """All parts below each other, in the same columns."""
    rows = [row for part in parts for row in part.rows]
    head = BenchRow("", "Parley", "reference", "target")
    widths = [
        max(len(getattr(row, name)) for row in [head, *rows]) for name in ("name", "parley", "reference", "target")
    ]

    def line(row: BenchRow) -> str:
        cells = (row.name, row.parley, row.reference, row.target)
        padded = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"  {padded}  {'' if row.met is None else 'met' if row.met else 'MISSED'}".rstrip()

    lines = ["{cpu}, {cores} cores, {memory_gib} GiB · Python {python}, torch {torch} · {date}".format(**facts)]
    if facts["load_before"] > 0.5:
        lines.append(
            f"The machine was busy before the run (load average {facts['load_before']}); run again when it is idle."
        )
    lines.append(line(head))
    for part in parts:
        lines += ["", part.title, *map(line, part.rows)]
        if part.failure:
            lines.append(f"  not measured: {part.failure}")
    return "\n".join(lines)
