"""How many callers come next: one load step after another, given whether the last passed. Knows no time or calls."""

from __future__ import annotations

from collections.abc import Generator, Sequence

LoadPlan = Generator[int, bool, None]  # yields a number of callers; is sent whether that load step passed


def rising(levels: Sequence[int]) -> LoadPlan:
    """Each of these numbers of callers, whether or not the last one passed."""
    for callers in levels:
        _ = yield callers


def search(minimum: int, maximum: int) -> LoadPlan:
    """Double until a load step fails, then bisect between the most callers that passed and the fewest that failed.

    Assumes that a server which sustains n callers sustains fewer, and that a load step that failed would fail again;
    longer load steps make both likelier.
    """
    passed, failed, callers = minimum - 1, maximum + 1, minimum
    while failed - passed > 1:
        if (yield callers):
            passed = callers
        else:
            failed = callers
        callers = min(2 * callers, maximum) if failed > maximum else (passed + failed) // 2
