"""From one caller to sixteen: what each one more costs.

Throughput is told as processor time for each caller's frame, everything included: a server that needs 4 ms of a core
for a frame serves 20 callers with it, however they are spread. It does not depend on how busy the machine is.
"""

from __future__ import annotations

from tests.bench import reference
from tests.bench.calls import Figures, call
from tests.bench.parley import parley, timings_ms
from tests.bench.processes import Server
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

CROWDS = (1, 2, 4, 8, 16)
TALK_S = 12
STEP_TIMES = 8.0  # sixteen callers' step over one caller's: half of linear
TIMES_THROUGHPUT = 15.0


def measure(bench: Workbench) -> Part:
    ours: dict[int, Figures] = {}
    for callers in CROWDS:
        bench.say(f"{callers} at once on Parley")
        with parley(bench.checkpoint, bench.file(f"crowd-{callers}.log"), slots=max(CROWDS)) as server:
            ours[callers] = _crowd(server, callers)
            ours[callers]["step_ms"] = timings_ms(server)["step"]["p50"]
    theirs: Figures | None = None
    if reference.is_installed():
        bench.say("one caller on the reference in bfloat16")
        with reference.reference(bench.checkpoint, bench.file("crowd-reference.log"), "bfloat16") as server:
            theirs = _crowd(server, 1)
    return Part(
        title=f"From 1 to {max(CROWDS)} callers, {TALK_S} s each, one thread",
        rows=[*(_row(callers, figures, theirs) for callers, figures in ours.items()), *_rows(ours, theirs)],
        figures={"parley": ours, "reference": theirs},
    )


def _crowd(server: Server, callers: int) -> Figures:
    before_s = server.cpu_s()
    figures = call(server, callers, TALK_S)
    figures["cpu_ms"] = 1e3 * (server.cpu_s() - before_s) / figures["frames_received"]
    return figures


def _row(callers: int, figures: Figures, theirs: Figures | None) -> Row:
    seen = f"{figures['turnaround_ms']['p50']:.1f} ms, {figures['cpu_ms']:.1f} ms of a core a frame"
    at_one = f"{theirs['turnaround_ms']['p50']:.1f} ms, {theirs['cpu_ms']:.1f} ms" if theirs and callers == 1 else ""
    return Row(f"{callers} at once: turnaround p50", seen, at_one)


def _rows(ours: dict[int, Figures], theirs: Figures | None) -> list[Row]:
    few, many = ours[CROWDS[0]], ours[CROWDS[-1]]
    growth = many["step_ms"] / few["step_ms"]
    growth_bar = f"under {STEP_TIMES:g}×"
    rows = [Row(f"a step of {CROWDS[-1]} over a step of 1", f"{growth:.1f}×", "", growth_bar, growth < STEP_TIMES)]
    if theirs:
        times = theirs["cpu_ms"] / many["cpu_ms"]
        bar = f"at least {TIMES_THROUGHPUT:g}×"
        rows.append(
            Row("frames from a core, against the reference", f"{times:.1f}×", "", bar, times >= TIMES_THROUGHPUT)
        )
    return rows
