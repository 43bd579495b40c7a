"""Eight callers at once, in real time. The reference answers one, and leaves the others on a silent line."""

from __future__ import annotations

from server.load.call import GREETING_WITHIN_S
from tests.bench import reference
from tests.bench.calls import Figures, call, call_rows
from tests.bench.parley import parley, timings_ms
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

CALLERS = 8
TALK_S = GREETING_WITHIN_S + 1  # so that nobody gets a turn because somebody else was done
MOST_LATE = 0.01
SERVER_MS = 3.0
RESIDENT_BYTES = 1.2e9


def measure(bench: Workbench) -> Part:
    bench.say(f"{CALLERS} callers on Parley")
    with parley(bench.checkpoint, bench.file("callers-parley.log"), slots=CALLERS) as server:
        ours = call(server, CALLERS, TALK_S)
        timings, resident_bytes = timings_ms(server), server.resident_bytes()
    theirs: Figures | None = None
    if reference.is_installed():
        bench.say(f"{CALLERS} callers on the reference")
        with reference.reference(bench.checkpoint, bench.file("callers-reference.log")) as server:
            theirs = call(server, CALLERS, TALK_S)
    return Part(
        title=f"{CALLERS} callers for {TALK_S:.0f} s, one thread",
        rows=[*call_rows(ours, theirs, MOST_LATE), *_server_rows(timings, resident_bytes)],
        figures={"parley": ours, "timings_ms": timings, "resident_bytes": resident_bytes, "reference": theirs},
    )


def _server_rows(timings: dict[str, dict[str, float]], resident_bytes: int) -> list[Row]:
    server_ms = timings["server"]["p50"]
    return [
        Row("model's step, p50", f"{timings['step']['p50']:.1f} ms"),
        Row(
            "server's time beyond the step, p50",
            f"{server_ms:.2f} ms",
            bar=f"under {SERVER_MS:g} ms",
            met=server_ms < SERVER_MS,
        ),
        Row(
            "server's resident memory",
            f"{resident_bytes / 1e9:.2f} GB",
            bar=f"under {RESIDENT_BYTES / 1e9:g} GB",
            met=resident_bytes < RESIDENT_BYTES,
        ),
    ]
