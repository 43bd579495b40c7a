"""The calls that both servers get: `parley load`, in a process of its own, and its figures as lines of the table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from server.audio.framing import FRAME_S
from server.load.call import GREETING_WITHIN_S
from server.load.figures import LATE_MS
from tests.bench.processes import ROOT, BenchError, Server
from tests.bench.report import Row

Figures = dict[str, Any]  # as server/load/figures.py writes them


def call(server: Server, callers: int, seconds: float, form: str = "ogg") -> Figures:
    """Talk for `seconds`, `callers` at once, and tell how it went."""
    file = server.log.with_suffix(".json")
    file.unlink(missing_ok=True)
    flags = {"-n": callers, "-s": seconds, "--form": form, "--json": file}
    given = [str(word) for flag in flags.items() for word in flag]
    command = [sys.executable, "-m", "server", "load", server.url, *given]
    limit_s = seconds + GREETING_WITHIN_S + 30
    try:
        ended = subprocess.run(  # its status says that callers were refused, as the figures do
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"the callers were not done after {limit_s:.0f} s") from error
    if not file.exists():
        raise BenchError(f"the callers gave up: {ended.stderr[-500:]}")
    figures = json.loads(file.read_text())
    if not figures["frames_received"]:
        raise BenchError(f"no caller heard anything: {figures['failures']}")
    return figures


def call_rows(ours: Figures, theirs: Figures | None, most_late: float) -> list[Row]:
    """How the calls went; `most_late` is the share of answers that may take longer than a frame."""

    def row(what: str, tell: Callable[[Figures], str], bar: str = "", met: bool | None = None) -> Row:
        return Row(what, tell(ours), tell(theirs) if theirs else "", bar, met)

    bar = f"at most {most_late:.0%}" if most_late else "none"
    return [
        row("callers served to the end", _served, "all", ours["failed"] == 0),
        row("frames answered", _frames, "none missing", ours["frames_missing"] == 0),
        row("turnaround p50 · p95 · p99", _turnaround),
        row(f"longer than {LATE_MS:.0f} ms", lambda f: f"{f['late_share']:.2%}", bar, ours["late_share"] <= most_late),
        row("callers' own lateness, p99", lambda f: f"{f['own_lateness_ms']['p99']:.1f} ms"),
    ]


def _served(figures: Figures) -> str:
    return f"{figures['callers'] - figures['failed']} of {figures['callers']}"


def _frames(figures: Figures) -> str:
    wanted = figures["callers"] * round(float(figures["seconds"]) / FRAME_S)
    return f"{figures['frames_received']:,} of {wanted:,}"


def _turnaround(figures: Figures) -> str:
    return " · ".join(f"{figures['turnaround_ms'][name]:.1f}" for name in ("p50", "p95", "p99")) + " ms"
