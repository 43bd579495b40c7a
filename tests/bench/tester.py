"""Whether `parley load` keeps its own pace: 200 callers from one process, against a server that costs next to nothing.

What is measured is the tester alone: how late its packets leave, and what it takes of a core.
"""

from __future__ import annotations

import sys

from tests.bench.calls import Figures, call
from tests.bench.processes import serving
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

CALLERS = 200
TALK_S = 20
LATE_MS = 10.0  # p99
FORMS = {"ogg": "Ogg pages", "raw": "raw packets"}


def measure(bench: Workbench) -> Part:
    figures: dict[str, Figures] = {}
    for form in FORMS:
        bench.say(f"{CALLERS} callers of the tester, in {FORMS[form]}")
        with serving([sys.executable, "-m", "tests.bench.light_echo"], bench.file(f"tester-{form}.log")) as server:
            figures[form] = call(server, CALLERS, TALK_S, form)
    return Part(
        title=f"The tester itself: {CALLERS} callers from one process for {TALK_S} s",
        rows=[row for form in FORMS for row in _rows(FORMS[form], figures[form])],
        figures=figures,
    )


def _rows(what: str, figures: Figures) -> list[Row]:
    late = figures["own_lateness_ms"]
    told = " · ".join(f"{late[name]:.1f}" for name in ("p50", "p99", "max"))
    answered = figures["frames_sent"] - figures["frames_missing"]
    return [
        Row(f"{what}: late, p50 · p99 · max", f"{told} ms", bar=f"p99 under {LATE_MS:g} ms", met=late["p99"] < LATE_MS),
        Row(f"{what}: answered", f"{answered:,} of {figures['frames_sent']:,} frames"),
        Row(f"{what}: share of a core", f"{figures['own_core_share']:.0%}"),
    ]
