"""The report: one HTML file with everything in it, and nothing to fetch. Another run may be shown beside it.

Knows which figures make which picture; `chart.py` knows geometry, and `report.html` what it all looks like.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TextIO

from jinja2 import Environment, PackageLoader

from server.load import chart
from server.load.chart import Box, Chart, Curve
from server.load.figures import GAP_S, LATE_MS, PLAYER_BUFFER_S
from server.load.limits import OWN_LATENESS_MS
from server.load.results import Results

_LEAST_MS = 1.0  # of turnaround, that is drawn
_STRIP = 96.0  # the height of a low plot
_LABELS = {"step": "the model's step, p50"}  # of curves that are not called what they are
Rows = Sequence[dict[str, Any]]


def write_report(file: TextIO, figures: Results, other: Results | None = None) -> None:
    """`other`: an earlier run, to be shown beside it."""
    pages = Environment(loader=PackageLoader("server.load", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"ms": _ms, "share": _share, "count": _count, "day": _day, "best": _best}
    charts = [_callers(figures), _turnaround(figures, other), _breaks(figures)]
    if len(figures["steps"]) > 1:
        charts.append(_by_callers(figures["steps"], other["steps"] if other else []))
    before = {step["callers"]: step for step in other["steps"]} if other else {}
    page = pages.get_template("report.html")
    bounds = {"late_ms": LATE_MS, "own_ms": OWN_LATENESS_MS}
    file.write(page.render(run=figures, other=other, before=before, charts=charts, chart=chart, **bounds))


def _best(figures: Results) -> dict[str, Any]:
    """The step of a search that counts, the one of the most callers that were held; else the whole run.

    `server` is what the server told of it; None where that is many things, as of a ramp.
    """
    held = [step for step in figures["steps"] if step["held"]]
    if figures["found"] and held:
        return max(held, key=lambda step: step["callers"])
    return figures | {"server": figures["steps"][0]["server"] if len(figures["steps"]) == 1 else None}


def _times(rows: Rows) -> tuple[list[float], float]:
    """When each stretch begins, and how long it is."""
    at = [row["at_s"] for row in rows]
    return at, at[1] - at[0] if len(at) > 1 else 1.0


def _time_axis(rows: Rows) -> tuple[chart.Scale, list[tuple[float, str]]]:
    at, each_s = _times(rows)
    x = chart.across(0, at[-1] + each_s)
    return x, [(round(x(tick), 1), _clock(tick)) for tick in chart.ticks(0, at[-1] + each_s, 9)]


def _callers(figures: Results) -> Chart:
    rows = figures["over_time"]
    (at, each_s), (x, x_ticks) = _times(rows), _time_axis(rows)
    in_call = [row["in_call"] for row in rows]
    most = max([1, *in_call])
    y = chart.up(most, _STRIP)
    area = Curve("callers", "in call", chart.stairs(at, in_call, at[-1] + each_s, x, y))
    marks = [
        Box("step", round(x(step["from_s"]), 1), chart.TOP, round(x(step["to_s"]) - x(step["from_s"]), 1), _STRIP - 42)
        for step in figures["steps"]
        if len(figures["steps"]) > 1
    ]
    y_ticks = [(round(y(tick), 1), _count(tick)) for tick in (0, most)]
    note = "Shaded is when a step was measured: after all its callers were greeted."
    return Chart("Callers", note if marks else "", "", x_ticks, y_ticks, [area], marks, height=_STRIP)


def _turnaround(figures: Results, other: Results | None) -> Chart:
    rows = figures["over_time"]
    (at, each_s), (x, x_ticks) = _times(rows), _time_axis(rows)
    middle = [t + each_s / 2 for t in at]
    values = {name: [row[f"turnaround_{name}_ms"] for row in rows] for name in ("max", "p99", "p50")}
    values["step"] = [_drawn(row.get("step_p50_ms")) for row in rows]
    theirs = [row for row in other["over_time"] if row["at_s"] <= at[-1]] if other else []
    before = [row["turnaround_p99_ms"] for row in theirs]
    y, y_ticks = _ms_axis([*itertools.chain(*values.values()), *before])
    curves = [Curve(name, _LABELS.get(name, name), chart.path(middle, values[name], x, y)) for name in values]
    curves = [curve for curve in curves if curve.path]
    if other:
        curves.append(Curve("other", "p99 before", chart.path([r["at_s"] + each_s / 2 for r in theirs], before, x, y)))
    hits = [
        Box("hit", round(x(t), 1), chart.TOP, max(1.0, round(x(each_s) - x(0), 1)), chart.HEIGHT, _told(row))
        for t, row in zip(at, rows, strict=True)
    ]
    note = "From the last packet of 80 ms leaving to its answer arriving whole; by when it was sent."
    bar = (round(y(LATE_MS), 1), f"{LATE_MS:.0f} ms, a frame")
    return Chart("Turnaround", note, "", x_ticks, y_ticks, curves, hits=hits, bar=bar, legend=_legend(curves))


def _breaks(figures: Results) -> Chart:
    rows = figures["over_time"]
    (at, each_s), (x, x_ticks) = _times(rows), _time_axis(rows)
    gaps, dry = [row["packet_gaps"] for row in rows], [row["underruns"] for row in rows]
    most = max([1, *gaps, *dry])
    y = chart.up(most, _STRIP)
    boxes = chart.columns("gap", at, gaps, each_s, x, y) + chart.columns("dry", at, dry, each_s, x, y)
    y_ticks = [(round(y(tick), 1), _count(tick)) for tick in (0, most)]
    note = (
        f"Gaps: nothing for more than {1e3 * GAP_S:.0f} ms. Underruns: a player with {1e3 * PLAYER_BUFFER_S:.0f} ms of "
        "buffer had nothing to play."
    )
    legend = [("gap", "gaps"), ("dry", "underruns")]
    return Chart("What was heard of it", note, "", x_ticks, y_ticks, [], boxes, height=_STRIP, legend=legend)


def _by_callers(steps: Rows, before: Rows) -> Chart:
    ours, theirs = (sorted(rows, key=lambda step: step["callers"]) for rows in (steps, before))
    callers = [step["callers"] for step in ours]
    values = {name: [step["turnaround_ms"][name] for step in ours] for name in ("p99", "p95", "p50")}
    values["step"] = [_drawn(step["server"]["step_ms"]["p50"]) if step["server"] else None for step in ours]
    shown = [step for step in theirs if step["callers"] <= callers[-1]]
    p99_before = [step["turnaround_ms"]["p99"] for step in shown]
    y, y_ticks = _ms_axis([*itertools.chain(*values.values()), *p99_before])
    x = chart.across(0, callers[-1] * 1.03)
    x_ticks = [(round(x(tick), 1), _count(tick)) for tick in chart.ticks(0, callers[-1], 9)]
    curves = [
        Curve(name, _LABELS.get(name, name), chart.path(callers, p, x, y), chart.dots(callers, p, x, y))
        for name, p in values.items()
        if any(p)
    ]
    if shown:
        at = [step["callers"] for step in shown]
        curves.append(Curve("other", "p99 before", chart.path(at, p99_before, x, y), chart.dots(at, p99_before, x, y)))
    half = (chart.WIDTH - chart.LEFT - chart.RIGHT) / (2 * len(ours) + 2)
    hits = [
        Box("hit", round(x(n) - half, 1), chart.TOP, round(2 * half, 1), chart.HEIGHT, _told_step(step))
        for n, step in zip(callers, ours, strict=True)
    ]
    bar = (round(y(LATE_MS), 1), f"{LATE_MS:.0f} ms, a frame")
    note = "Each step once, measured while it was held."
    return Chart(
        "Turnaround by callers", note, "callers", x_ticks, y_ticks, curves, hits=hits, bar=bar, legend=_legend(curves)
    )


def _drawn(value_ms: float | None) -> float | None:
    """Without what is too little for the axis: an echo's step is none."""
    return value_ms if value_ms and value_ms >= _LEAST_MS else None


def _ms_axis(values: Sequence[float | None]) -> tuple[chart.Scale, list[tuple[float, str]]]:
    """A logarithmic axis that holds these and the bar."""
    known = [value for value in values if value is not None]
    least, most = max(_LEAST_MS, min([LATE_MS / 4, *known])), max([1.5 * LATE_MS, *known]) * 1.1
    y = chart.up_log(least, most)
    return y, [(round(y(tick), 1), _ms(tick)) for tick in chart.log_ticks(least, most)]


def _legend(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    return [(curve.kind, curve.label) for curve in curves]


def _told(row: dict[str, Any]) -> str:
    turnaround = " · ".join(f"{name} {_ms(row[f'turnaround_{name}_ms'])}" for name in ("p50", "p99", "max"))
    return f"{_clock(row['at_s'])}: {row['in_call']} in call\n{turnaround}\n{_share(row['late_share'])} late"


def _told_step(step: dict[str, Any]) -> str:
    turnaround = " · ".join(f"{name} {_ms(value)}" for name, value in step["turnaround_ms"].items())
    return f"{step['callers']} callers\n{turnaround}\n{_share(step['late_share'])} late, {step['failed']} failed"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1e3:,.3g} s" if value >= 1_000 else f"{value:.3g} ms"


def _share(value: float | None) -> str:
    if value is None:
        return "–"
    percent = 100 * value
    return (
        f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 1 or not value else f"{percent:.2f} %"
    )


def _day(made_at: str) -> str:
    return made_at.replace("T", " ").replace("+00:00", " UTC")


def _count(value: float) -> str:
    return f"{value:,.0f}"
