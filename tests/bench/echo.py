"""Sixty-four callers on the echo: the cost of everything but the model.

They send sixteen thousand frames, so memory that the server keeps for each frame would show here.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.calls import Figures, call, call_rows
from tests.bench.parley import parley
from tests.bench.processes import BenchServer
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

CALLERS = 64
TALK_S = 20
MAX_GROWTH_BYTES = 4e6  # over the last ten thousand frames: 400 bytes a frame would show

_SAMPLE_S = 0.5


def measure(bench: Workbench) -> BenchPart:
    bench.say(f"{CALLERS} callers on the echo")
    with parley("echo", bench.file("echo.log"), slots=CALLERS) as server:
        cpu_before_s = server.cpu_s()
        figures, sizes = _call_and_watch(server)
        core_share = (server.cpu_s() - cpu_before_s) / TALK_S
    settled_bytes = sizes[len(sizes) // 3]
    grown_bytes = sizes[-1] - settled_bytes
    return BenchPart(
        title=f"{CALLERS} callers on the echo for {TALK_S} s",
        rows=[
            *call_rows(figures, None, max_late=0),
            BenchRow("server's share of a core", f"{core_share:.0%}"),
            BenchRow(
                "growth of the server's memory",
                f"{grown_bytes / 1e6:+.1f} MB from {settled_bytes / 1e6:.0f}",
                target=f"under {MAX_GROWTH_BYTES / 1e6:g} MB",
                met=grown_bytes < MAX_GROWTH_BYTES,
            ),
        ],
        figures={"parley": figures, "core_share": core_share, "resident_bytes": sizes},
    )


def _call_and_watch(server: BenchServer) -> tuple[Figures, list[int]]:
    """The figures of the calls, and samples of the server's resident memory during them."""
    sizes: list[int] = []
    with ThreadPoolExecutor(1) as calls:
        calling = calls.submit(call, server, CALLERS, TALK_S)
        while not calling.done():
            sizes.append(server.resident_bytes())
            time.sleep(_SAMPLE_S)
    return calling.result(), sizes
