from __future__ import annotations

import pytest

from server.load.plan import Plan, rising, search


def levels(plan: Plan, holds: int) -> list[int]:
    """The callers that a plan asks for, of a server that holds so many."""
    asked = [next(plan)]
    try:
        while True:
            asked.append(plan.send(asked[-1] <= holds))
    except StopIteration:
        return asked


def test_a_rise_goes_on_whatever_happens() -> None:
    assert levels(rising([1, 2, 4]), holds=0) == [1, 2, 4]


@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("holds", [*range(70), 10_000])
def test_a_search_finds_what_is_held(least: int, holds: int) -> None:
    asked = levels(search(least, 64), holds)
    held = [callers for callers in asked if callers <= holds]
    assert max(held, default=0) == (min(holds, 64) if holds >= least else 0)
    assert len(asked) == len(set(asked)) <= 13
    assert all(least <= callers <= 64 for callers in asked)


def test_a_search_of_one_number_tries_it() -> None:
    assert levels(search(7, 7), holds=3) == [7]
