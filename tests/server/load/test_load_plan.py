from __future__ import annotations

import pytest

from server.load.load_plan import LoadPlan, rising, search


def levels(plan: LoadPlan, sustained: int) -> list[int]:
    """The callers that a plan asks for when the server sustains `sustained`."""
    asked = [next(plan)]
    try:
        while True:
            asked.append(plan.send(asked[-1] <= sustained))
    except StopIteration:
        return asked


def test_rising_goes_on_after_a_failed_load_step() -> None:
    assert levels(rising([1, 2, 4]), sustained=0) == [1, 2, 4]


@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("sustained", [*range(70), 10_000])
def test_search_finds_the_most_callers_that_pass(least: int, sustained: int) -> None:
    asked = levels(search(least, 64), sustained)
    passed = [callers for callers in asked if callers <= sustained]
    assert max(passed, default=0) == (min(sustained, 64) if sustained >= least else 0)
    assert len(asked) == len(set(asked)) <= 13
    assert all(least <= callers <= 64 for callers in asked)


def test_search_of_one_number_tries_it() -> None:
    assert levels(search(7, 7), sustained=3) == [7]
