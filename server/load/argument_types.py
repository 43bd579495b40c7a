"""Parsers of flag values: addresses, durations, ramps, targets, faults. All of them raise ArgumentTypeError."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from server.client.urls import chat_url
from server.load.faults import FaultRates
from server.load.workload import DurationMix

_RAMP = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")
MAX_CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """What a server must keep to for a load step to pass. A failed call misses every target."""

    p99_ms: float = 80.0  # of turnaround
    late_percent: float = 1.0

    def __str__(self) -> str:
        return f"p99 ≤ {self.p99_ms:g} ms and at most {self.late_percent:g} % late"


def url_or_results(text: str) -> str | Path:
    """The address of a server to call, or the path of an earlier run's JSON."""
    if text.endswith(".json") and Path(text).is_file():
        return Path(text)
    try:
        return chat_url(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ArgumentTypeError(f"{text} must be greater than 0")
        return value

    number.__name__ = kind.__name__
    return number


def duration_mix(text: str) -> DurationMix:
    """`30`, `10..60`, or several of these, such as `5..20,60..300`."""
    ranges = [part.partition("..") for part in text.split(",")]
    try:
        pairs = tuple((float(shortest), float(longest if dots else shortest)) for shortest, dots, longest in ranges)
    except ValueError:
        pairs = ()
    if not pairs or not all(0 <= shortest <= longest < float("inf") for shortest, longest in pairs):
        raise ArgumentTypeError(f"{text!r} is not a duration in seconds such as 30, 10..60 or 5..20,60..300")
    return DurationMix(pairs)


def call_length(text: str) -> DurationMix:
    """A `duration_mix` without 0."""
    lengths = duration_mix(text)
    if any(shortest == 0 for shortest, _ in lengths.ranges_s):
        raise ArgumentTypeError(f"{text} must be greater than 0")
    return lengths


def ramp(text: str) -> list[int]:
    """`1..64` (doubling) or `8..64..8` (in steps of 8), as numbers of callers."""
    found = _RAMP.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a ramp such as 1..64 (doubling) or 8..64..8 (in steps of 8)")
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 0)
    if not 1 <= first <= last <= MAX_CALLERS or found[3] == "0":
        raise ArgumentTypeError(f"{text} must rise, from 1 or more to at most {MAX_CALLERS:,}")
    levels = [first]
    while levels[-1] < last:
        levels.append(min(last, levels[-1] + (step or levels[-1])))
    return levels


def service_target(text: str) -> ServiceTarget:
    """`p99=80,late=1`, or one of the two."""
    names = {"p99": "p99_ms", "late": "late_percent"}
    values = _assignments(text, set(names), "p99=80,late=1")
    return ServiceTarget(**{names[name]: value for name, value in values.items()})


def fault_rates(text: str) -> FaultRates:
    """`loss=2,stall=1,drop=0.5,reconnect=0.5`, or some of these."""
    values = _assignments(text, {field.name for field in fields(FaultRates)}, "loss=2,stall=1,drop=0.5,reconnect=0.5")
    if values.get("loss", 0) > 100:
        raise ArgumentTypeError("loss cannot be more than 100 percent")
    return FaultRates(**values)


def _assignments(text: str, names: set[str], example: str) -> dict[str, float]:
    try:
        values = {name: float(value) for name, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        values = {}
    if not values or not values.keys() <= names or not all(0 <= value < float("inf") for value in values.values()):
        raise ArgumentTypeError(f"{text!r} must look like {example}")
    return values
