"""What the callers of a run do, and for how long."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from server.dialects.kyutai_protocol import AudioForm
from server.load.faults import FaultRates

_NO_FAULTS = FaultRates()


@dataclass(frozen=True, slots=True)
class DurationMix:
    """Durations in seconds: each is drawn uniformly from one of these ranges, and each range is equally likely."""

    ranges_s: tuple[tuple[float, float], ...]

    def draw(self, rng: random.Random) -> float:
        return rng.uniform(*rng.choice(self.ranges_s))

    @property
    def longest_s(self) -> float:
        return max(longest for _, longest in self.ranges_s)

    def __str__(self) -> str:
        return ",".join(f"{a:g}" if a == b else f"{a:g}..{b:g}" for a, b in self.ranges_s)


_NO_PAUSE = DurationMix(((0, 0),))


@dataclass(frozen=True, slots=True)
class Workload:
    """What the callers of a run do. The k-th random choice of a caller is the same in every run."""

    url: str
    call_length: DurationMix
    speeches: Sequence[Sequence[list[bytes]]]  # caller k sends speech k, modulo their number
    forms: Sequence[AudioForm] = (AudioForm.OGG,)  # caller k uses form k, modulo their number
    think_time: DurationMix = _NO_PAUSE  # between two calls of a caller
    is_single: bool = False  # one call for each caller
    faults: FaultRates = _NO_FAULTS
    headers: Mapping[str, str] = field(default_factory=dict)
