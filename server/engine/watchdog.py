"""Detects an engine tick that does not end: a device that hangs raises nothing.

It counts its own checks and not seconds, so that a process that was stopped, or a machine that slept, is not taken for
a hang. Owner: the event loop. Knows no engine and no clock.
"""

from __future__ import annotations

HANG_CHECKS = 10  # a second apart; a step has 80 ms, and a model that takes seconds cannot hold a call


class Watchdog:
    """Compares the number of the tick under way with the one before."""

    def __init__(self) -> None:
        self._tick: int | None = None
        self._checks = 0  # that found the same tick

    def hangs(self, tick: int | None) -> bool:
        """Check once; None: the engine sleeps, or is not up yet. True when it hangs."""
        if tick is None or tick != self._tick:
            self._tick, self._checks = tick, 0
        else:
            self._checks += 1
        return self._checks >= HANG_CHECKS
