"""Eight callers at once, in real time. The reference serves one at a time; the others wait without a handshake."""

from __future__ import annotations

from server.load.measured_call import HANDSHAKE_TIMEOUT_S
from tests.bench import reference
from tests.bench.calls import Figures, call, call_rows
from tests.bench.parley import parley, timings_ms
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

CALLERS = 8
TALK_S = HANDSHAKE_TIMEOUT_S + 1  # so that no caller is served because another one has finished
MAX_LATE = 0.01
MAX_SERVER_MS = 3.0
MAX_RESIDENT_BYTES = 1.2e9


def measure(bench: Workbench) -> BenchPart:
    bench.say(f"{CALLERS} callers on Parley")
    with parley(bench.checkpoint, bench.file("callers-parley.log"), slots=CALLERS) as server:
        ours = call(server, CALLERS, TALK_S)
        timings, resident_bytes = timings_ms(server), server.resident_bytes()
    theirs: Figures | None = None
    if reference.is_installed():
        bench.say(f"{CALLERS} callers on the reference")
        with reference.reference(bench.checkpoint, bench.file("callers-reference.log")) as server:
            theirs = call(server, CALLERS, TALK_S)
    return BenchPart(
        title=f"{CALLERS} callers for {TALK_S:.0f} s, one thread",
        rows=[*call_rows(ours, theirs, MAX_LATE), *_server_rows(timings, resident_bytes)],
        figures={"parley": ours, "timings_ms": timings, "resident_bytes": resident_bytes, "reference": theirs},
    )


def _server_rows(timings: dict[str, dict[str, float]], resident_bytes: int) -> list[BenchRow]:
    server_ms = timings["server"]["p50"]
    return [
        BenchRow("model step, p50", f"{timings['step']['p50']:.1f} ms"),
        BenchRow(
            "server time without the step, p50",
            f"{server_ms:.2f} ms",
            target=f"under {MAX_SERVER_MS:g} ms",
            met=server_ms < MAX_SERVER_MS,
        ),
        BenchRow(
            "server's resident memory",
            f"{resident_bytes / 1e9:.2f} GB",
            target=f"under {MAX_RESIDENT_BYTES / 1e9:g} GB",
            met=resident_bytes < MAX_RESIDENT_BYTES,
        ),
    ]
