"""The HTML report: one file that fetches nothing. An earlier run may be shown beside it.

Knows which figures make which plot; `chart.py` knows the geometry, and `report.html` how everything looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TextIO

from jinja2 import Environment, PackageLoader

from server.load import chart
from server.load.chart import Box, Chart, Curve
from server.load.diagnosis import MAX_CLIENT_LATENESS_MS
from server.load.figures import GAP_S, LATE_MS, PLAYER_BUFFER_S
from server.load.formats import callers, count, duration, percent
from server.load.results import Results
from server.load.step_table import step_table

_MIN_MS = 1.0  # the lowest turnaround that is drawn
_LOW_HEIGHT = 96.0  # of a low plot
_LABELS = {"step": "model step, p50", "other": "p99 before"}  # of curves whose label is not their kind
Rows = Sequence[dict[str, Any]]
Series = dict[str, tuple[Sequence[float], chart.Values]]  # by kind of curve: x and y


def write_html(file: TextIO, figures: Results, other: Results | None = None) -> None:
    """`other`: an earlier run, to be shown beside it."""
    pages = Environment(loader=PackageLoader("server.load", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {
        "duration": duration,
        "percent": percent,
        "count": count,
        "callers": callers,
        "date": _date,
        "best": _best,
    }
    charts = [_callers(figures), _turnaround(figures, other), _gaps(figures)]
    if len(figures["steps"]) > 1:
        charts.append(_by_callers(figures["steps"], other["steps"] if other else []))
    steps = step_table(figures["steps"], other["steps"] if other else None)
    page = pages.get_template("report.html")
    limits = {"late_ms": LATE_MS, "max_client_ms": MAX_CLIENT_LATENESS_MS}
    file.write(page.render(run=figures, other=other, steps=steps, charts=charts, chart=chart, **limits))


def _best(figures: Results) -> dict[str, Any]:
    """The load step that a search found, that is the one with the most callers that passed; else the whole run.

    `server` is the server's own figures of that time; None for several load steps together.
    """
    passed = [step for step in figures["steps"] if step["passed"]]
    if figures["search"] and passed:
        return max(passed, key=lambda step: step["callers"])
    return figures | {"server": figures["steps"][0]["server"] if len(figures["steps"]) == 1 else None}


def _times(rows: Rows) -> tuple[list[float], float]:
    """When each interval begins, and how long it is."""
    at = [row["at_s"] for row in rows]
    return at, at[1] - at[0] if len(at) > 1 else 1.0


def _time_axis(rows: Rows) -> tuple[chart.Scale, list[tuple[float, str]]]:
    at, each_s = _times(rows)
    x = chart.x_scale(0, at[-1] + each_s)
    return x, [(round(x(tick), 1), _clock(tick)) for tick in chart.ticks(0, at[-1] + each_s, 9)]


def _callers(figures: Results) -> Chart:
    rows = figures["over_time"]
    (at, each_s), (x, x_ticks) = _times(rows), _time_axis(rows)
    in_call = [row["in_call"] for row in rows]
    most = max([1, *in_call])
    y = chart.y_scale(most, _LOW_HEIGHT)
    area = Curve("callers", "in call", chart.stairs(at, in_call, at[-1] + each_s, x, y))
    marks = [
        Box(
            "step",
            round(x(step["from_s"]), 1),
            chart.TOP,
            round(x(step["to_s"]) - x(step["from_s"]), 1),
            _LOW_HEIGHT - 42,
        )
        for step in figures["steps"]
        if len(figures["steps"]) > 1
    ]
    y_ticks = [(round(y(tick), 1), count(tick)) for tick in (0, most)]
    note = "The shaded intervals were measured. Each load step settles first: every caller must get its handshake."
    return Chart("Callers", note if marks else "", "", x_ticks, y_ticks, [area], marks, height=_LOW_HEIGHT)


def _turnaround(figures: Results, other: Results | None) -> Chart:
    rows = figures["over_time"]
    (at, each_s), (x, x_ticks) = _times(rows), _time_axis(rows)
    middle = [t + each_s / 2 for t in at]
    series: Series = {name: (middle, [row[f"turnaround_{name}_ms"] for row in rows]) for name in ("max", "p99", "p50")}
    series["step"] = middle, [_drawable(row.get("step_p50_ms")) for row in rows]
    if other:
        theirs = [row for row in other["over_time"] if row["at_s"] <= at[-1]]
        series["other"] = [row["at_s"] + each_s / 2 for row in theirs], [row["turnaround_p99_ms"] for row in theirs]
    width = max(1.0, round(x(each_s) - x(0), 1))
    hover_areas = [
        Box("hover", round(x(t), 1), chart.TOP, width, chart.HEIGHT, _tooltip(row))
        for t, row in zip(at, rows, strict=True)
    ]
    note = "From sending the last packet of a frame to receiving its complete answer, by the time of sending."
    return _turnaround_chart(Chart("Turnaround", note, x_ticks=x_ticks, hover_areas=hover_areas), series, x)


def _gaps(figures: Results) -> Chart:
    rows = figures["over_time"]
    (at, each_s), (x, x_ticks) = _times(rows), _time_axis(rows)
    gaps, underruns = [row["packet_gaps"] for row in rows], [row["underruns"] for row in rows]
    most = max([1, *gaps, *underruns])
    y = chart.y_scale(most, _LOW_HEIGHT)
    boxes = chart.columns("gap", at, gaps, each_s, x, y) + chart.columns("underrun", at, underruns, each_s, x, y)
    y_ticks = [(round(y(tick), 1), count(tick)) for tick in (0, most)]
    note = (
        f"A gap is more than {1e3 * GAP_S:.0f} ms without a frame. An underrun is when a player with "
        f"{1e3 * PLAYER_BUFFER_S:.0f} ms of buffer has nothing to play."
    )
    legend = [("gap", "gaps"), ("underrun", "underruns")]
    return Chart("Gaps and underruns", note, "", x_ticks, y_ticks, [], boxes, height=_LOW_HEIGHT, legend=legend)


def _by_callers(steps: Rows, before: Rows) -> Chart:
    ours, theirs = (sorted(rows, key=lambda step: step["callers"]) for rows in (steps, before))
    numbers = [step["callers"] for step in ours]
    series: Series = {name: (numbers, [step["turnaround_ms"][name] for step in ours]) for name in ("p99", "p95", "p50")}
    step_ms = [_drawable(step["server"]["step_ms"]["p50"]) if step["server"] else None for step in ours]
    series["step"] = numbers, step_ms
    shown = [step for step in theirs if step["callers"] <= numbers[-1]]
    series["other"] = [step["callers"] for step in shown], [step["turnaround_ms"]["p99"] for step in shown]
    x = chart.x_scale(0, numbers[-1] * 1.03)
    x_ticks = [(round(x(tick), 1), count(tick)) for tick in chart.ticks(0, numbers[-1], 9) if tick % 1 == 0]
    half = (chart.WIDTH - chart.LEFT - chart.RIGHT) / (2 * len(ours) + 2)
    hover_areas = [
        Box("hover", round(x(n) - half, 1), chart.TOP, round(2 * half, 1), chart.HEIGHT, _step_tooltip(step))
        for n, step in zip(numbers, ours, strict=True)
    ]
    note = "Each load step, while it was measured."
    empty = Chart("Turnaround by callers", note, "callers", x_ticks, hover_areas=hover_areas)
    return _turnaround_chart(empty, series, x, has_dots=True)


def _turnaround_chart(empty: Chart, series: Series, x: chart.Scale, has_dots: bool = False) -> Chart:
    """`empty` with the curves of `series`, on a logarithmic axis of milliseconds, and the limit of one frame."""
    y, y_ticks = _ms_axis([value for _, values in series.values() for value in values])
    curves = [
        Curve(kind, _LABELS.get(kind, kind), path, chart.dots(at, values, x, y) if has_dots else ())
        for kind, (at, values) in series.items()
        if (path := chart.path(at, values, x, y))
    ]
    limit = (round(y(LATE_MS), 1), f"{LATE_MS:.0f} ms, one frame")
    legend = [(curve.kind, curve.label) for curve in curves]
    return replace(empty, y_ticks=y_ticks, curves=curves, limit=limit, legend=legend)


def _drawable(value_ms: float | None) -> float | None:
    """None if it is too small for the axis, as an echo's step is."""
    return value_ms if value_ms and value_ms >= _MIN_MS else None


def _ms_axis(values: Sequence[float | None]) -> tuple[chart.Scale, list[tuple[float, str]]]:
    """A logarithmic axis that includes these values and the limit."""
    known = [value for value in values if value is not None]
    least, most = max(_MIN_MS, min([LATE_MS / 4, *known])), max([1.5 * LATE_MS, *known]) * 1.1
    y = chart.y_log_scale(least, most)
    return y, [(round(y(tick), 1), duration(tick)) for tick in chart.log_ticks(least, most)]


def _tooltip(row: dict[str, Any]) -> str:
    turnaround = " · ".join(f"{name} {duration(row[f'turnaround_{name}_ms'])}" for name in ("p50", "p99", "max"))
    return f"{_clock(row['at_s'])}: {row['in_call']} in call\n{turnaround}\n{percent(row['late_share'])} late"


def _step_tooltip(step: dict[str, Any]) -> str:
    turnaround = " · ".join(f"{name} {duration(value)}" for name, value in step["turnaround_ms"].items())
    return f"{callers(step['callers'])}\n{turnaround}\n{percent(step['late_share'])} late, {step['failed']} failed"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _date(made_at: str) -> str:
    return made_at.replace("T", " ").replace("+00:00", " UTC")
