"""Plots as plain geometry: scales, ticks, paths. `html_report.py` says what they show, `report.html` how they look.

Coordinates are SVG's, in units of the plot: x to the right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 960, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 28  # margins, for the labels

Scale = Callable[[float], float]
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Curve:
    """`kind` is its CSS class."""

    kind: str
    label: str
    path: str
    dots: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Box:
    kind: str
    x: float
    y: float
    width: float
    height: float
    tooltip: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    note: str
    x_label: str = ""
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    curves: Sequence[Curve] = ()
    boxes: Sequence[Box] = ()
    hover_areas: Sequence[Box] = ()  # invisible and in front of all else; each has a tooltip
    limit: tuple[float, str] | None = None  # y and label of a line that curves should stay below
    height: float = HEIGHT
    legend: Sequence[tuple[str, str]] = ()


def x_scale(least: float, most: float) -> Scale:
    """Linear, over the width."""
    return _linear(least, most, LEFT, WIDTH - RIGHT)


def y_scale(most: float, height: float = HEIGHT) -> Scale:
    """Linear from 0, over the height."""
    return _linear(0, most, height - BOTTOM, TOP)


def y_log_scale(least: float, most: float) -> Scale:
    """Logarithmic, over the height; smaller values are drawn at `least`."""
    linear = _linear(math.log(least), math.log(most), HEIGHT - BOTTOM, TOP)
    return lambda value: linear(math.log(max(value, least)))


def _linear(least: float, most: float, at_least: float, at_most: float) -> Scale:
    span = (most - least) or 1
    return lambda value: at_least + (value - least) / span * (at_most - at_least)


def ticks(least: float, most: float, count: int = 6) -> list[float]:
    """At most about `count` round numbers from `least` to `most`, in steps of 1, 2 or 5 times a power of ten."""
    rough = max(most - least, 1e-9) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(least / step - 1e-9)
    return [round(k * step, 9) for k in range(first, math.floor(most / step + 1e-9) + 1)]


def log_ticks(least: float, most: float) -> list[float]:
    """1, 2 and 5 times powers of ten; over three or more decades, only the powers."""
    factors = (1, 2, 5) if most / least < 1_000 else (1,)
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    return [value for k in decades for factor in factors if least <= (value := factor * 10.0**k) <= most]


def path(xs: Sequence[float], values: Values, x: Scale, y: Scale) -> str:
    """An SVG path through the points, interrupted where there is no value."""
    commands: list[str] = []
    command = "M"
    for at, value in zip(xs, values, strict=True):
        if value is None:
            command = "M"
            continue
        commands.append(f"{command}{x(at):.1f} {y(value):.1f}")
        command = "L"
    return "".join(commands)


def stairs(xs: Sequence[float], values: Sequence[float], end: float, x: Scale, y: Scale) -> str:
    """A filled area in which each value holds until the next."""
    if not xs:
        return ""
    commands = [f"M{x(xs[0]):.1f} {y(0):.1f}"]
    for at, until, value in zip(xs, [*xs[1:], end], values, strict=True):
        commands.append(f"L{x(at):.1f} {y(value):.1f}L{x(until):.1f} {y(value):.1f}")
    return "".join(commands) + f"L{x(end):.1f} {y(0):.1f}Z"


def dots(xs: Sequence[float], values: Values, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(round(x(at), 1), round(y(value), 1)) for at, value in zip(xs, values, strict=True) if value is not None]


def columns(kind: str, xs: Sequence[float], values: Sequence[float], width: float, x: Scale, y: Scale) -> list[Box]:
    """A column for each value above 0, `width` wide on the x axis, with a small space between columns."""
    floor, column_width = y(0), max(1.0, x(width) - x(0) - 1)
    return [
        Box(kind, round(x(at), 1), round(y(value), 1), round(column_width, 1), round(floor - y(value), 1))
        for at, value in zip(xs, values, strict=True)
        if value
    ]
