"""The figures as text: the table that is printed when all is over. What is shown meanwhile is in `display.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.load.figures import GAP_S, LATE_MS, PLAYER_BUFFER_S
from server.load.limits import OWN_LATENESS_MS
from server.load.results import Results

STEP_COLUMNS = ("callers", "p50", "p95", "p99", "late", "missing", "gaps", "underruns", "failed", "step", "held")


def table(figures: Results) -> str:
    """What is printed when all is over."""
    lines = [f"{name:<14} {value}" for name, value in _rows(figures)]
    own_p99 = figures["own_lateness_ms"]["p99"]
    if own_p99 is not None and own_p99 > OWN_LATENESS_MS:
        lines.append("This machine was itself too busy to keep the pace; the figures are not the server's alone.")
    if len(figures["steps"]) > 1:
        lines += ["", *_aligned([STEP_COLUMNS, *map(step_cells, figures["steps"])])]
    if found := figures["found"]:
        lines += ["", *_verdict(found)]
    return "\n".join(lines)


def _rows(figures: Results) -> Iterator[tuple[str, str]]:
    yield "calls", f"{figures['calls']} of {figures['seconds']} s, {figures['form']}, to {figures['url']}"
    yield "admitted", f"{figures['admitted']} of {figures['calls']}"
    yield "failed", str(figures["failed"])
    yield from (("", f"{count} × {reason}") for reason, count in figures["failures"].items())
    yield "greeted after", spread(figures["greeted_after_ms"])
    counts = [f"{figures[f'frames_{what}']:,} {what}" for what in ("sent", "received", "missing")]
    unsent = (
        [f"{figures['frames_unsent']:,} never sent, as the server did not read"] if figures["frames_unsent"] else []
    )
    yield "frames", ", ".join(counts + unsent)
    yield "turnaround", spread(figures["turnaround_ms"])
    yield f"over {LATE_MS:.0f} ms", share(figures["late_share"])
    yield "gaps", f"{figures['packet_gaps']:,} over {GAP_S * 1e3:.0f} ms"
    yield "underruns", f"{figures['underruns']:,} with {PLAYER_BUFFER_S * 1e3:.0f} ms of buffer"
    yield "text", f"{figures['text_pieces']:,} pieces"
    yield "own lateness", f"{spread(figures['own_lateness_ms'])}, {figures['own_core_share']:.0%} of a core"
    if len(figures["steps"]) == 1 and (server := figures["steps"][0]["server"]):
        step, lag = spread(server["step_ms"]), spread(server["loop_lag_ms"])
        rows = server.get("rows_per_used")  # not every server tells
        computed = f" on {rows:.2f} rows for each that was used" if rows else ""
        yield "the server", f"step {step}{computed}; event loop late {lag}; {server['cpu_share']:.0%} of a core"
    if troubled := figures.get("with_faults"):
        cut = f"{troubled['lines_cut']} lines cut, {troubled['resumed']} conversations resumed"
        told = f"{troubled['calls']} calls, {cut}, {troubled['failed']} failed, {share(troubled['late_share'])} late"
        yield "with faults", f"{told}; the figures above are of the others"


def spread(values: dict[str, float | None]) -> str:
    if values["p50"] is None:
        return "-"
    return " · ".join(f"{key} {value:,.1f}" for key, value in values.items()) + " ms"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def step_cells(step: dict[str, Any]) -> tuple[str, ...]:
    """One step as text, in the order of `STEP_COLUMNS`."""
    ms = [_ms(step["turnaround_ms"][name]) for name in ("p50", "p95", "p99")]
    counts = [f"{step[name]:,}" for name in ("frames_missing", "packet_gaps", "underruns", "failed")]
    model_step = _ms(step["server"]["step_ms"]["p50"]) if step["server"] else "-"
    held = {True: "yes", False: "no", None: "-"}[step["held"]]
    return f"{step['callers']:,}", *ms, share(step["late_share"]), *counts, model_step, held


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _verdict(found: dict[str, Any]) -> Iterator[str]:
    if found["callers"]:
        many = "s" if found["callers"] > 1 else ""
        yield f"The server holds {found['callers']:,} caller{many} at {found['bar']}."
    elif found["failed_at"] == 1:
        yield f"The server holds not one caller at {found['bar']}."
    elif found["failed_at"]:
        yield f"The server does not hold {found['failed_at']:,} callers at {found['bar']}. Fewer were not tried."
    else:
        yield "How many the server holds is not known: no step came to its end."
    if found["ended_by"]:
        yield f"At {found['failed_at']:,} it is ended by {found['ended_by']}."
    elif found["callers"]:
        yield "More were not tried."
