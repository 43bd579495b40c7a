"""From one caller to sixteen: the cost of each additional caller.

Throughput is given as CPU time per caller and frame, everything included: a server that needs 4 ms of a core for a
frame serves 20 callers with that core, however they are distributed. Sixteen callers in real time do not fill batches,
because the engine does not wait for them. The cost at the limit is therefore the share of a full step, as `model.bench`
measures it, plus what the server spends on a frame outside its steps. The reference is measured with one caller: it
serves only one.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench import reference
from tests.bench.calls import Figures, call
from tests.bench.parley import parley, total_step_s
from tests.bench.processes import ROOT, BenchError, BenchServer
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

CALLERS = (1, 2, 4, 8, 16)
TALK_S = 12
MAX_STEP_GROWTH = 8.0  # a step of sixteen callers over a step of one: half of linear
MIN_THROUGHPUT_GAIN = 15.0
STEPS_TIMEOUT_S = 120.0


def measure(bench: Workbench) -> BenchPart:
    ours: dict[int, Figures] = {}
    for callers in CALLERS:
        bench.say(f"{callers} callers on Parley")
        with parley(bench.checkpoint, bench.file(f"scaling-{callers}.log"), slots=max(CALLERS)) as server:
            ours[callers] = _call(server, callers)
            step_ms = 1e3 * total_step_s(server) / ours[callers]["frames_received"]
            ours[callers]["outside_steps_ms"] = ours[callers]["cpu_ms"] - step_ms
    bench.say("full steps")
    steps_ms = _full_steps_ms(bench)
    theirs: Figures | None = None
    if reference.is_installed():
        bench.say("one caller on the reference in bfloat16")
        with reference.reference(bench.checkpoint, bench.file("scaling-reference.log"), "bfloat16") as server:
            theirs = _call(server, 1)
    return BenchPart(
        title=f"From 1 to {max(CALLERS)} callers, {TALK_S} s each, one thread",
        rows=[*(_row(callers, figures, theirs) for callers, figures in ours.items()), *_rows(ours, theirs, steps_ms)],
        figures={"parley": ours, "reference": theirs, "steps_ms": steps_ms},
    )


def _call(server: BenchServer, callers: int) -> Figures:
    before_s = server.cpu_s()
    figures = call(server, callers, TALK_S)
    figures["cpu_ms"] = 1e3 * (server.cpu_s() - before_s) / figures["frames_received"]
    return figures


def _row(callers: int, figures: Figures, theirs: Figures | None) -> BenchRow:
    ours = f"{figures['turnaround_ms']['p50']:.1f} ms, {figures['cpu_ms']:.1f} ms of a core a frame"
    at_one = f"{theirs['turnaround_ms']['p50']:.1f} ms, {theirs['cpu_ms']:.1f} ms" if theirs and callers == 1 else ""
    return BenchRow(f"{callers} callers: turnaround p50", ours, at_one)


def _full_steps_ms(bench: Workbench) -> dict[int, float]:
    """The duration of a step with every slot active, by number of callers. Raises BenchError."""
    file, callers = bench.file("steps.json"), f"{CALLERS[0]},{CALLERS[-1]}"
    flags = ["--callers", callers, "--fills", "1", "--json", str(file)]
    command = [sys.executable, "-m", "model.bench", str(bench.checkpoint), *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=STEPS_TIMEOUT_S, check=False)
    if ended.returncode:
        raise BenchError(f"model.bench failed: {ended.stderr[-500:]}")
    return {row["callers"]: 1e3 * row["step_s"]["p50"] for row in json.loads(file.read_text())["rows"]}


def _rows(ours: dict[int, Figures], theirs: Figures | None, steps_ms: dict[int, float]) -> list[BenchRow]:
    few, many = CALLERS[0], CALLERS[-1]
    growth = steps_ms[many] / steps_ms[few]
    growth_target = f"under {MAX_STEP_GROWTH:g}×"
    rows = [
        BenchRow(
            f"a step of {many} over a step of {few}", f"{growth:.1f}×", "", growth_target, growth < MAX_STEP_GROWTH
        )
    ]
    full_ms = steps_ms[many] / many + ours[many]["outside_steps_ms"]
    name, text = f"a frame in full steps of {many}", f"{full_ms:.1f} ms of a core"
    if theirs:
        times = theirs["cpu_ms"] / full_ms
        target, met = f"at least {MIN_THROUGHPUT_GAIN:g}×", times >= MIN_THROUGHPUT_GAIN
        rows.append(BenchRow(name, text, f"{theirs['cpu_ms']:.1f} ms, {times:.1f}×", target, met))
    else:
        rows.append(BenchRow(name, text))
    return rows
