"""The watchdog: when a tick counts as a hang."""

from __future__ import annotations

from server.engine.watchdog import HANG_CHECKS, Watchdog


def look(watchdog: Watchdog, turn: int | None, times: int) -> list[bool]:
    """Whether each of `times` looks at `turn` finds a hang."""
    return [watchdog.hangs(turn) for _ in range(times)]


def test_unchanged_turn_is_a_hang_after_the_last_look():
    assert look(Watchdog(), 7, HANG_CHECKS + 1) == [False] * HANG_CHECKS + [True]


def test_new_turn_restarts_the_count():
    watchdog = Watchdog()
    look(watchdog, 7, HANG_CHECKS)
    assert not any(look(watchdog, 8, HANG_CHECKS))


def test_waiting_engine_is_never_a_hang():
    watchdog = Watchdog()
    look(watchdog, 7, HANG_CHECKS)
    assert not any(look(watchdog, None, 3 * HANG_CHECKS))
