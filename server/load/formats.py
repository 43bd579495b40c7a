"""Figures as text, for the terminal and the HTML report alike."""

from __future__ import annotations

MISSING = "-"


def spread(values_ms: dict[str, float | None]) -> str:
    """Percentiles in a row, such as `p50 20.0 · p99 35.1 ms`."""
    if values_ms["p50"] is None:
        return MISSING
    return " · ".join(f"{name} {value:,.1f}" for name, value in values_ms.items()) + " ms"


def percent(share: float | None) -> str:
    """More digits the smaller it is: a few late frames matter, the digits of 40 % do not."""
    if share is None:
        return MISSING
    value = 100 * share
    digits = 0 if value >= 10 or not value else 1 if value >= 1 else 2
    return f"{value:.{digits}f}%"


def duration(value_ms: float | None) -> str:
    if value_ms is None:
        return MISSING
    return f"{value_ms / 1e3:,.3g} s" if value_ms >= 1_000 else f"{value_ms:.3g} ms"


def count(value: float) -> str:
    return f"{value:,.0f}"


def callers(number: int) -> str:
    return f"{count(number)} caller{'s' if number > 1 else ''}"
