"""One caller: how long a frame takes.

Seen twice. By the server: from a whole frame at hand to its answer with the socket, which both servers time alike. By
the caller: from the last packet sent to the answer heard, with the Opus decoder and the sockets in it. The reference
runs as it is published, in bfloat16, and also in float32: a CPU is faster so, and it is what Parley runs in here.
"""

from __future__ import annotations

from tests.bench import reference
from tests.bench.calls import call
from tests.bench.parley import parley, timings_ms
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

TALK_S = 20
TIMES_FASTER = 3.0

Seen = dict[str, float]  # by "server" and by "caller": p50 in ms


def measure(bench: Workbench) -> Part:
    ours = _on_parley(bench)
    theirs: dict[str, Seen] = {}
    if reference.is_installed():
        theirs = {dtype: _on_reference(bench, dtype) for dtype in ("bfloat16", "float32")}
    return Part(
        title=f"A frame: one caller for {TALK_S} s, one thread, p50",
        rows=[row for by in ("server", "caller") for row in _rows(by, ours, theirs)],
        figures={"parley_ms": ours, "reference_ms": theirs},
    )


def _on_parley(bench: Workbench) -> Seen:
    bench.say("one caller on Parley")
    with parley(bench.checkpoint, bench.file("frame-parley.log")) as server:
        heard = call(server, 1, TALK_S)
        return {"server": timings_ms(server)["turnaround"]["p50"], "caller": heard["turnaround_ms"]["p50"]}


def _on_reference(bench: Workbench, dtype: str) -> Seen:
    bench.say(f"one caller on the reference in {dtype}")
    with reference.reference(bench.checkpoint, bench.file(f"frame-{dtype}.log"), dtype) as server:
        heard = call(server, 1, TALK_S)
        return {"server": reference.frame_ms(server), "caller": heard["turnaround_ms"]["p50"]}


def _rows(by: str, ours: Seen, theirs: dict[str, Seen]) -> list[Row]:
    if not theirs:
        return [Row(f"by the {by}'s clock", f"{ours[by]:.1f} ms")]
    return [
        Row(
            f"by the {by}'s clock, against {dtype}",
            f"{ours[by]:.1f} ms, {seen[by] / ours[by]:.1f}× faster",
            f"{seen[by]:.1f} ms",
            f"{TIMES_FASTER:g}× faster",
            seen[by] >= TIMES_FASTER * ours[by],
        )
        for dtype, seen in theirs.items()
    ]
