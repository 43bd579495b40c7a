"""Notices a turn of the engine that does not end: a device that hangs raises nothing.

It counts its own looks and not seconds, so a process that was stopped, or a machine that slept, is no hang. Owner: the
event loop. Knows no engine and no clock.
"""

from __future__ import annotations

HANG_LOOKS = 10  # a second apart; a step has 80 ms, and a model on a slow CPU that takes seconds has no callers


class Watchdog:
    """Looks at the number of the turn under way, again and again."""

    def __init__(self) -> None:
        self._turn: int | None = None
        self._looks = 0  # that found the same turn

    def hangs(self, turn: int | None) -> bool:
        """One look; None: the engine sleeps, or is not up yet. True when it hangs."""
        if turn is None or turn != self._turn:
            self._turn, self._looks = turn, 0
        else:
            self._looks += 1
        return self._looks >= HANG_LOOKS
