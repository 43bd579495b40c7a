"""Sixty-four callers on the echo: all that is not the model, the server's and the wire's own cost.

They bring more than ten thousand frames, so this is also where a leak in the server would show.
"""

from __future__ import annotations

from tests.bench.calls import call, call_rows
from tests.bench.parley import parley
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

CALLERS = 64
TALK_S = 15
SETTLE_S = 3
GROWTH_BYTES = 4e6  # over 12,000 frames: 350 bytes a frame would show


def measure(bench: Workbench) -> Part:
    bench.say(f"{CALLERS} callers on the echo")
    with parley("echo", bench.file("echo.log"), slots=CALLERS) as server:
        call(server, CALLERS, SETTLE_S)
        cpu_before_s, before_bytes = server.cpu_s(), server.resident_bytes()
        figures = call(server, CALLERS, TALK_S)
        core_share = (server.cpu_s() - cpu_before_s) / TALK_S
        grown_bytes = server.resident_bytes() - before_bytes
    return Part(
        title=f"{CALLERS} callers on the echo for {TALK_S} s",
        rows=[
            *call_rows(figures, None, most_late=0),
            Row("server's share of a core", f"{core_share:.0%}"),
            Row(
                "server's memory, grown by",
                f"{grown_bytes / 1e6:+.1f} MB, from {before_bytes / 1e6:.0f}",
                bar=f"under {GROWTH_BYTES / 1e6:g} MB",
                met=grown_bytes < GROWTH_BYTES,
            ),
        ],
        figures={"parley": figures, "core_share": core_share, "grown_bytes": grown_bytes},
    )
