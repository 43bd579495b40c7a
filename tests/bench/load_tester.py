"""Whether `parley load` keeps its own pace: 200 callers from one process, on a server that costs almost nothing.

This measures the load tester alone: how late it sends its packets, and how much of a core it uses.
"""

from __future__ import annotations

import sys

from tests.bench.calls import Figures, call
from tests.bench.processes import serving
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

CALLERS = 200
TALK_S = 20
MAX_LATE_MS = 10.0  # p99
FORMS = {"ogg": "Ogg pages", "raw": "raw packets"}


def measure(bench: Workbench) -> BenchPart:
    figures: dict[str, Figures] = {}
    for form in FORMS:
        bench.say(f"{CALLERS} callers of parley load, in {FORMS[form]}")
        with serving([sys.executable, "-m", "tests.bench.light_echo"], bench.file(f"load-tester-{form}.log")) as server:
            figures[form] = call(server, CALLERS, TALK_S, form)
    return BenchPart(
        title=f"The load tester itself: {CALLERS} callers from one process for {TALK_S} s",
        rows=[row for form in FORMS for row in _rows(FORMS[form], figures[form])],
        figures=figures,
    )


def _rows(form: str, figures: Figures) -> list[BenchRow]:
    late = figures["client_lateness_ms"]
    lateness = " · ".join(f"{late[name]:.1f}" for name in ("p50", "p99", "max"))
    answered = figures["frames_sent"] - figures["frames_missing"]
    return [
        BenchRow(
            f"{form}: late, p50 · p99 · max",
            f"{lateness} ms",
            target=f"p99 under {MAX_LATE_MS:g} ms",
            met=late["p99"] < MAX_LATE_MS,
        ),
        BenchRow(f"{form}: answered", f"{answered:,} of {figures['frames_sent']:,} frames"),
        BenchRow(f"{form}: share of a core", f"{figures['client_core_share']:.0%}"),
    ]
