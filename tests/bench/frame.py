"""One caller: how long a frame takes.

Measured twice. By the server: from a complete frame to its answer handed to the socket, which both servers time in the
same way. By the caller: from the last packet sent to the answer received, which includes the Opus decoder and the
sockets. The reference runs in bfloat16, as published, and in float32, which is faster on a CPU and which Parley uses
here.
"""

from __future__ import annotations

from tests.bench import reference
from tests.bench.calls import call
from tests.bench.parley import parley, timings_ms
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

TALK_S = 20
TIMES_FASTER = 3.0

FrameTimes = dict[str, float]  # p50 in ms, by "server" and by "caller"


def measure(bench: Workbench) -> BenchPart:
    ours = _on_parley(bench)
    theirs: dict[str, FrameTimes] = {}
    if reference.is_installed():
        theirs = {dtype: _on_reference(bench, dtype) for dtype in ("bfloat16", "float32")}
    return BenchPart(
        title=f"A frame: one caller for {TALK_S} s, one thread, p50",
        rows=[row for by in ("server", "caller") for row in _rows(by, ours, theirs)],
        figures={"parley_ms": ours, "reference_ms": theirs},
    )


def _on_parley(bench: Workbench) -> FrameTimes:
    bench.say("one caller on Parley")
    with parley(bench.checkpoint, bench.file("frame-parley.log")) as server:
        figures = call(server, 1, TALK_S)
        return {"server": timings_ms(server)["turnaround"]["p50"], "caller": figures["turnaround_ms"]["p50"]}


def _on_reference(bench: Workbench, dtype: str) -> FrameTimes:
    bench.say(f"one caller on the reference in {dtype}")
    with reference.reference(bench.checkpoint, bench.file(f"frame-{dtype}.log"), dtype) as server:
        figures = call(server, 1, TALK_S)
        return {"server": reference.frame_ms(server), "caller": figures["turnaround_ms"]["p50"]}


def _rows(by: str, ours: FrameTimes, theirs: dict[str, FrameTimes]) -> list[BenchRow]:
    if not theirs:
        return [BenchRow(f"by the {by}'s clock", f"{ours[by]:.1f} ms")]
    return [
        BenchRow(
            f"by the {by}'s clock, against {dtype}",
            f"{ours[by]:.1f} ms, {seen[by] / ours[by]:.1f}× faster",
            f"{seen[by]:.1f} ms",
            f"{TIMES_FASTER:g}× faster",
            seen[by] >= TIMES_FASTER * ours[by],
        )
        for dtype, seen in theirs.items()
    ]
