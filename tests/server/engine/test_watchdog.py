"""The watchdog, look by look."""

from __future__ import annotations

from server.engine.watchdog import HANG_CHECKS, Watchdog


def looks(watchdog: Watchdog, turn: int | None, times: int) -> list[bool]:
    return [watchdog.hangs(turn) for _ in range(times)]


def test_a_turn_that_stays_is_a_hang_and_not_before():
    assert looks(Watchdog(), 7, HANG_CHECKS + 1) == [False] * HANG_CHECKS + [True]


def test_another_turn_begins_the_count_again():
    watchdog = Watchdog()
    looks(watchdog, 7, HANG_CHECKS)
    assert not any(looks(watchdog, 8, HANG_CHECKS))


def test_an_engine_that_sleeps_never_hangs():
    watchdog = Watchdog()
    looks(watchdog, 7, HANG_CHECKS)
    assert not any(looks(watchdog, None, 3 * HANG_CHECKS))
