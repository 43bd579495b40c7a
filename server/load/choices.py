"""What the words of the command line mean: addresses, mixes, ramps, bars, faults. Each raises ArgumentTypeError."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from server.load.crowd import Mix
from server.load.troubles import Faults

_RAMP = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")
MOST_CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class Bar:
    """What a server must keep for it to hold so many callers. A call that fails breaks any bar."""

    p99_ms: float = 80.0  # of turnaround
    late_percent: float = 1.0

    def __str__(self) -> str:
        return f"p99 ≤ {self.p99_ms:g} ms and at most {self.late_percent:g} % late"


def chat_url(text: str) -> str:
    """`http://HOST:PORT`, with or without the path, as the WebSocket address of /api/chat."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when there can be no such port
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no address: {error}") from error
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ArgumentTypeError(f"{text!r} is no address such as http://localhost:8998")
    path = parts.path.rstrip("/").removesuffix("/api/chat") + "/api/chat"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def target(text: str) -> str | Path:
    """A server to call, or the JSON of an earlier run."""
    return Path(text) if text.endswith(".json") and Path(text).is_file() else chat_url(text)


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ArgumentTypeError(f"{text} is not above 0")
        return value

    number.__name__ = kind.__name__
    return number


def mix(text: str) -> Mix:
    """`30`, `10..60`, or several of such, as `5..20,60..300`."""
    ranges = [part.partition("..") for part in text.split(",")]
    try:
        pairs = tuple((float(least), float(most if dots else least)) for least, dots, most in ranges)
    except ValueError:
        pairs = ()
    if not pairs or not all(0 <= least <= most < float("inf") for least, most in pairs):
        raise ArgumentTypeError(f"{text!r} is no length in seconds such as 30, 10..60 or 5..20,60..300")
    return Mix(pairs)


def talk(text: str) -> Mix:
    """The same, but nobody talks for no time at all."""
    lengths = mix(text)
    if any(least == 0 for least, _ in lengths.ranges_s):
        raise ArgumentTypeError(f"{text} is not above 0")
    return lengths


def ramp(text: str) -> list[int]:
    """`1..64` (doubling) or `8..64..8` (in steps of 8), as the numbers of callers."""
    found = _RAMP.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no ramp such as 1..64 (doubling) or 8..64..8 (in steps of 8)")
    least, most, step = int(found[1]), int(found[2]), int(found[3] or 0)
    if not 1 <= least <= most <= MOST_CALLERS or found[3] == "0":
        raise ArgumentTypeError(f"{text} does not go up from 1 or more to {MOST_CALLERS:,} or less")
    levels = [least]
    while levels[-1] < most:
        levels.append(min(most, levels[-1] + (step or levels[-1])))
    return levels


def bar(text: str) -> Bar:
    """`p99=80,late=1`, or one of them."""
    names = {"p99": "p99_ms", "late": "late_percent"}
    return Bar(**{names[name]: value for name, value in _assignments(text, set(names), "p99=80,late=1").items()})


def faults(text: str) -> Faults:
    """`loss=2,stall=1,drop=0.5,reconnect=0.5`, or some of them."""
    values = _assignments(text, {field.name for field in fields(Faults)}, "loss=2,stall=1,drop=0.5,reconnect=0.5")
    if values.get("loss", 0) > 100:
        raise ArgumentTypeError("more than 100 % cannot be lost")
    return Faults(**values)


def _assignments(text: str, names: set[str], example: str) -> dict[str, float]:
    try:
        values = {name: float(value) for name, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        values = {}
    if not values or not values.keys() <= names or not all(0 <= value < float("inf") for value in values.values()):
        raise ArgumentTypeError(f"{text!r} is not such as {example}")
    return values
