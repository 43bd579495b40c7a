"""Injected faults: what a bad network does to a call, at random but the same for the same seed.

Every second caller gets them, so that a run shows whether they disturb the others. Knows no socket:
`measured_call.py` asks and acts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from enum import Enum

STALL_S = (0.3, 2.0)  # shortest and longest stall


class Disconnect(Enum):
    """A connection that is dropped without a close frame, and what its caller does next."""

    DROP = "drop"  # starts another call after the usual pause
    RECONNECT = "reconnect"  # connects again at once, and resumes the conversation if the server supports it


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often each fault happens to a caller that has faults. With all at 0, no caller has any."""

    loss: float = 0  # percent of the messages sent that never arrive
    stall: float = 0  # per minute: nothing gets through for a while, then everything does, as TCP does after a loss
    drop: float = 0  # per minute: the connection is dropped
    reconnect: float = 0  # per minute: the connection is dropped and the caller connects again at once

    def applies_to(self, caller: int) -> bool:
        """Whether this caller has faults."""
        return caller % 2 == 0 and any(getattr(self, field.name) for field in fields(self))


class FaultSchedule:
    """The faults of one call. Times are seconds since the call's speech started."""

    def __init__(self, rates: FaultRates, seed: int) -> None:
        self._rates = rates
        self._rng = random.Random(seed)
        self._next_stall_s = self._next_after(0, rates.stall)
        self._drop_s = self._next_after(0, rates.drop)
        self._reconnect_s = self._next_after(0, rates.reconnect)

    def loses_message(self) -> bool:
        """Whether the next message is lost on its way."""
        return 100 * self._rng.random() < self._rates.loss

    def stall_s(self, now_s: float) -> float:
        """How long the stall that starts now lasts; 0 if none starts."""
        if now_s < self._next_stall_s:
            return 0
        duration_s = self._rng.uniform(*STALL_S)
        self._next_stall_s = self._next_after(now_s + duration_s, self._rates.stall)
        return duration_s

    def disconnect(self, now_s: float) -> Disconnect | None:
        """Whether the connection is dropped now, and what follows."""
        if now_s >= self._reconnect_s:
            return Disconnect.RECONNECT
        return Disconnect.DROP if now_s >= self._drop_s else None

    def _next_after(self, now_s: float, per_minute: float) -> float:
        """When the next fault of this rate happens: a Poisson process."""
        return now_s + self._rng.expovariate(per_minute / 60) if per_minute else float("inf")
