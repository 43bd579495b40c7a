"""The figures of a run as text, printed when it is over. `display.py` shows those of a run in progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from server.load.diagnosis import MAX_CLIENT_LATENESS_MS
from server.load.figures import GAP_S, LATE_MS, PLAYER_BUFFER_S
from server.load.formats import callers, percent, spread
from server.load.results import Results
from server.load.step_table import step_table


def text_report(figures: Results) -> str:
    lines = [f"{name:<15} {value}" for name, value in _rows(figures)]
    client_p99_ms = figures["client_lateness_ms"]["p99"]
    if client_p99_ms is not None and client_p99_ms > MAX_CLIENT_LATENESS_MS:
        lines.append("The load tester was too busy to keep the pace, so these figures are not the server's alone.")
    if len(figures["steps"]) > 1:
        table = step_table(figures["steps"])
        lines += ["", *_aligned([table.headings, *table.rows])]
    if search := figures["search"]:
        lines += ["", *_verdict(search)]
    return "\n".join(lines)


def _rows(figures: Results) -> Iterator[tuple[str, str]]:
    yield "calls", f"{figures['calls']} of {figures['seconds']} s, {figures['form']}, to {figures['url']}"
    yield "admitted", f"{figures['admitted']} of {figures['calls']}"
    yield "failed", str(figures["failed"])
    yield from (("", f"{times} × {reason}") for reason, times in figures["failures"].items())
    yield "handshake after", spread(figures["handshake_ms"])
    frames = ", ".join(f"{figures[f'frames_{what}']:,} {what}" for what in ("sent", "received", "missing"))
    unsent = figures["frames_unsent"]
    yield "frames", frames + (f", {unsent:,} never sent because the server did not read" if unsent else "")
    yield "turnaround", spread(figures["turnaround_ms"])
    yield "late", f"{percent(figures['late_share'])} over {LATE_MS:.0f} ms or missing"
    yield "gaps", f"{figures['packet_gaps']:,} longer than {GAP_S * 1e3:.0f} ms"
    yield "underruns", f"{figures['underruns']:,} with a buffer of {PLAYER_BUFFER_S * 1e3:.0f} ms"
    yield "text", f"{figures['text_pieces']:,} pieces"
    yield "client lateness", f"{spread(figures['client_lateness_ms'])}, {figures['client_core_share']:.0%} of a core"
    if len(figures["steps"]) == 1 and (server := figures["steps"][0]["server"]):
        yield "server", _server(server)
    if faulty := figures.get("with_faults"):
        dropped = f"{faulty['disconnects']} connections dropped, {faulty['resumed']} conversations resumed"
        counts = f"{faulty['calls']} calls, {dropped}, {faulty['failed']} failed, {percent(faulty['late_share'])} late"
        yield "with faults", f"{counts}; the figures above are of the other calls"


def _server(server: dict[str, Any]) -> str:
    rows = server.get("rows_per_used")  # not every server reports it
    computed = f" on {rows:.2f} rows per row used" if rows else ""
    step, lag = spread(server["step_ms"]), spread(server["loop_lag_ms"])
    return f"step {step}{computed}; event loop lag {lag}; {server['cpu_share']:.0%} of a core"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _verdict(search: dict[str, Any]) -> Iterator[str]:
    if search["callers"]:
        yield f"The server sustains {callers(search['callers'])} at {search['target']}."
    elif search["failed_at"]:
        fewer = " Fewer were not tried." if search["failed_at"] > 1 else ""
        yield f"The server does not sustain {callers(search['failed_at'])} at {search['target']}.{fewer}"
    else:
        yield "It is not known how many callers the server sustains: no load step was completed."
    if search["bottleneck"]:
        yield f"Bottleneck at {callers(search['failed_at'])}: {search['bottleneck']}."
    elif search["callers"]:
        yield "More were not tried."
