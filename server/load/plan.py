"""How many callers come next: one step after the other, told how the last one went. Knows no time and no callers."""

from __future__ import annotations

from collections.abc import Generator, Sequence

Plan = Generator[int, bool, None]  # yields a number of callers, is sent whether the server held it


def rising(levels: Sequence[int]) -> Plan:
    """Each of these levels, however the last one went."""
    for callers in levels:
        _ = yield callers


def search(least: int, most: int) -> Plan:
    """Double until the server does not hold it, then halve the difference until the most that it holds is known.

    Takes for granted that who holds n callers holds fewer, and that a level that failed would fail again; a long hold
    makes both likelier.
    """
    held, failed, callers = least - 1, most + 1, least
    while failed - held > 1:
        if (yield callers):
            held = callers
        else:
            failed = callers
        callers = min(2 * callers, most) if failed > most else (held + failed) // 2
