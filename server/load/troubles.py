"""Faults to order: what a bad network does to a call, at random but the same each time for the same seed.

Every second caller has them, so that a run shows whether the others notice. Knows no socket: `call.py` asks and acts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from enum import Enum

STALL_S = (0.3, 2.0)  # how long a stalled line says nothing in either direction


class Cut(Enum):
    """A line that is cut without a goodbye, and what its caller does then."""

    GONE = "gone"  # comes back as a new call, after the usual pause
    RECONNECTS = "reconnects"  # dials at once, and goes on with the conversation where the server can


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each fault befalls a caller who has any. All 0: none has."""

    loss: float = 0  # percent of the messages that are sent never arrive
    stall: float = 0  # times a minute nothing gets through for a while, then all at once, as TCP does after a loss
    drop: float = 0  # times a minute the line is cut
    reconnect: float = 0  # times a minute the line is cut, and the caller dials again at once

    def befall(self, caller: int) -> bool:
        """Whether this caller has them."""
        return caller % 2 == 0 and any(getattr(self, field.name) for field in fields(self))


class Trouble:
    """The faults of one call, as it goes on. Times are seconds of that call."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = random.Random(seed)
        self._next_stall_s = self._after(0, faults.stall)
        self._gone_s = self._after(0, faults.drop)
        self._reconnects_s = self._after(0, faults.reconnect)

    def loses(self) -> bool:
        """Whether the next message is lost on its way."""
        return 100 * self._random.random() < self._faults.loss

    def stalls(self, at_s: float) -> float:
        """For how many seconds from now nothing gets through; 0: no stall begins."""
        if at_s < self._next_stall_s:
            return 0
        length_s = self._random.uniform(*STALL_S)
        self._next_stall_s = self._after(at_s + length_s, self._faults.stall)
        return length_s

    def cuts(self, at_s: float) -> Cut | None:
        """Whether the line is cut now."""
        if at_s >= self._reconnects_s:
            return Cut.RECONNECTS
        return Cut.GONE if at_s >= self._gone_s else None

    def _after(self, at_s: float, times_a_minute: float) -> float:
        """When the next of such events is, if they come as rain does: one does not wait for another."""
        return at_s + self._random.expovariate(times_a_minute / 60) if times_a_minute else float("inf")
