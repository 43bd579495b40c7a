"""The calls that both servers get: `parley load` in its own process, and its figures as lines of the table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from server.audio.framing import FRAME_S
from server.load.figures import LATE_MS
from server.load.measured_call import HANDSHAKE_TIMEOUT_S
from tests.bench.processes import ROOT, BenchError, BenchServer
from tests.bench.report import BenchRow

Figures = dict[str, Any]  # as server/load/figures.py writes them


def call(server: BenchServer, callers: int, seconds: float, form: str = "ogg") -> Figures:
    """Make calls of `seconds`, `callers` of them at once; returns the figures. Raises BenchError."""
    file = server.log.with_suffix(".json")
    file.unlink(missing_ok=True)
    flags = {"-n": callers, "-s": seconds, "--form": form, "--json": file}
    arguments = [str(word) for flag in flags.items() for word in flag]
    command = [sys.executable, "-m", "server", "load", server.url, *arguments]
    limit_s = seconds + HANDSHAKE_TIMEOUT_S + 30
    try:
        ended = subprocess.run(  # another status than 0 means failed calls; the figures report them too
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"parley load did not finish within {limit_s:.0f} s") from error
    if not file.exists():
        raise BenchError(f"parley load failed: {ended.stderr[-500:]}")
    figures = json.loads(file.read_text())
    if not figures["frames_received"]:
        raise BenchError(f"no caller received audio: {figures['failures']}")
    return figures


def call_rows(ours: Figures, theirs: Figures | None, max_late: float) -> list[BenchRow]:
    """The figures of the calls; `max_late` is the share of answers that may take longer than a frame."""

    def row(name: str, text: Callable[[Figures], str], target: str = "", met: bool | None = None) -> BenchRow:
        return BenchRow(name, text(ours), text(theirs) if theirs else "", target, met)

    target = f"at most {max_late:.0%}" if max_late else "none"
    return [
        row("calls served to the end", _served, "all", ours["failed"] == 0),
        row("frames answered", _frames, "none missing", ours["frames_missing"] == 0),
        row("turnaround p50 · p95 · p99", _turnaround),
        row(
            f"longer than {LATE_MS:.0f} ms", lambda f: f"{f['late_share']:.2%}", target, ours["late_share"] <= max_late
        ),
        row("client lateness, p99", lambda f: f"{f['client_lateness_ms']['p99']:.1f} ms"),
    ]


def _served(figures: Figures) -> str:
    return f"{figures['callers'] - figures['failed']} of {figures['callers']}"


def _frames(figures: Figures) -> str:
    expected = figures["callers"] * round(float(figures["seconds"]) / FRAME_S)
    return f"{figures['frames_received']:,} of {expected:,}"


def _turnaround(figures: Figures) -> str:
    return " · ".join(f"{figures['turnaround_ms'][name]:.1f}" for name in ("p50", "p95", "p99")) + " ms"
