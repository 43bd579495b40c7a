"""From one caller to sixteen: what each one more costs.

Throughput is told as processor time for each caller's frame, everything included: a server that needs 4 ms of a core
for a frame serves 20 callers with it, however they are spread. Sixteen callers in real time do not fill batches, since
nobody waits for them, and it only tells how long the engine was busy. At the limit it is a share of a full step, as
`model.bench` has it, and what the server takes for a frame beside its steps. The reference has no other load than one
caller.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench import reference
from tests.bench.calls import Figures, call
from tests.bench.parley import parley, stepped_s
from tests.bench.processes import ROOT, BenchError, Server
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

CROWDS = (1, 2, 4, 8, 16)
TALK_S = 12
STEP_TIMES = 8.0  # sixteen callers' step over one caller's: half of linear
TIMES_THROUGHPUT = 15.0
STEPS_WITHIN_S = 120.0


def measure(bench: Workbench) -> Part:
    ours: dict[int, Figures] = {}
    for callers in CROWDS:
        bench.say(f"{callers} at once on Parley")
        with parley(bench.checkpoint, bench.file(f"crowd-{callers}.log"), slots=max(CROWDS)) as server:
            ours[callers] = _crowd(server, callers)
            stepped_ms = 1e3 * stepped_s(server) / ours[callers]["frames_received"]
            ours[callers]["beside_ms"] = ours[callers]["cpu_ms"] - stepped_ms
    bench.say("full steps")
    steps_ms = _full_steps_ms(bench)
    theirs: Figures | None = None
    if reference.is_installed():
        bench.say("one caller on the reference in bfloat16")
        with reference.reference(bench.checkpoint, bench.file("crowd-reference.log"), "bfloat16") as server:
            theirs = _crowd(server, 1)
    return Part(
        title=f"From 1 to {max(CROWDS)} callers, {TALK_S} s each, one thread",
        rows=[*(_row(callers, figures, theirs) for callers, figures in ours.items()), *_rows(ours, theirs, steps_ms)],
        figures={"parley": ours, "reference": theirs, "steps_ms": steps_ms},
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


def _full_steps_ms(bench: Workbench) -> dict[int, float]:
    """A step in which so many speak, one after another."""
    file, callers = bench.file("steps.json"), f"{CROWDS[0]},{CROWDS[-1]}"
    flags = ["--callers", callers, "--fills", "1", "--json", str(file)]
    command = [sys.executable, "-m", "model.bench", str(bench.checkpoint), *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=STEPS_WITHIN_S, check=False)
    if ended.returncode:
        raise BenchError(f"no steps were measured: {ended.stderr[-500:]}")
    return {row["callers"]: 1e3 * row["step_s"]["p50"] for row in json.loads(file.read_text())["rows"]}


def _rows(ours: dict[int, Figures], theirs: Figures | None, steps_ms: dict[int, float]) -> list[Row]:
    few, many = CROWDS[0], CROWDS[-1]
    growth = steps_ms[many] / steps_ms[few]
    growth_bar = f"under {STEP_TIMES:g}×"
    rows = [Row(f"a step of {many} over a step of {few}", f"{growth:.1f}×", "", growth_bar, growth < STEP_TIMES)]
    full_ms = steps_ms[many] / many + ours[many]["beside_ms"]
    what, told = f"a frame when steps are full, {many} in each", f"{full_ms:.1f} ms of a core"
    if theirs:
        times = theirs["cpu_ms"] / full_ms
        bar, met = f"at least {TIMES_THROUGHPUT:g}×", times >= TIMES_THROUGHPUT
        rows.append(Row(what, told, f"{theirs['cpu_ms']:.1f} ms, {times:.1f}×", bar, met))
    else:
        rows.append(Row(what, told))
    return rows
