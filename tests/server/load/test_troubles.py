from __future__ import annotations

import pytest

from server.load.troubles import STALL_S, Cut, Faults, Trouble


def test_every_second_caller_has_faults_if_there_are_any() -> None:
    assert [Faults(stall=1).befall(caller) for caller in range(4)] == [True, False, True, False]
    assert not Faults().befall(0)


def test_loss_is_of_the_ordered_share() -> None:
    trouble = Trouble(Faults(loss=5), seed=1)
    assert sum(trouble.loses() for _ in range(20_000)) == pytest.approx(1_000, rel=0.1)
    assert not any(Trouble(Faults(), seed=1).loses() for _ in range(100))


def test_stalls_come_as_often_as_ordered() -> None:
    trouble = Trouble(Faults(stall=6), seed=1)
    stalls = [length for tick in range(100_000) if (length := trouble.stalls(tick * 0.1))]
    within = (STALL_S[0] + STALL_S[1]) / 2  # no stall begins in a stall
    assert len(stalls) == pytest.approx(10_000 / (10 + within), rel=0.1)
    assert all(STALL_S[0] <= length <= STALL_S[1] for length in stalls)


def test_a_line_is_cut_once_on_average_after_the_ordered_time() -> None:
    def cut_s(faults: Faults, seed: int) -> float:
        trouble = Trouble(faults, seed)
        return next(tick for tick in range(100_000) if trouble.cuts(float(tick)))

    assert sum(cut_s(Faults(drop=2), seed) for seed in range(1_000)) / 1_000 == pytest.approx(30.5, rel=0.1)
    assert Trouble(Faults(drop=2), 1).cuts(10_000) is Cut.GONE
    assert Trouble(Faults(reconnect=2), 1).cuts(10_000) is Cut.RECONNECTS
    assert Trouble(Faults(), 1).cuts(10_000) is None


def test_the_same_seed_is_the_same_trouble() -> None:
    first, second = Trouble(Faults(loss=50), 3), Trouble(Faults(loss=50), 3)
    assert [first.loses() for _ in range(50)] == [second.loses() for _ in range(50)]
