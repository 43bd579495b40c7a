from __future__ import annotations

import pytest

from server.load.faults import STALL_S, Disconnect, FaultRates, FaultSchedule


def test_fault_rates_apply_to_every_second_caller() -> None:
    assert [FaultRates(stall=1).applies_to(caller) for caller in range(4)] == [True, False, True, False]
    assert not FaultRates().applies_to(0)


def test_messages_are_lost_at_the_given_rate() -> None:
    schedule = FaultSchedule(FaultRates(loss=5), seed=1)
    assert sum(schedule.loses_message() for _ in range(20_000)) == pytest.approx(1_000, rel=0.1)
    assert not any(FaultSchedule(FaultRates(), seed=1).loses_message() for _ in range(100))


def test_stalls_start_at_the_given_rate() -> None:
    schedule = FaultSchedule(FaultRates(stall=6), seed=1)
    stalls = [length for tick in range(100_000) if (length := schedule.stall_s(tick * 0.1))]
    within = (STALL_S[0] + STALL_S[1]) / 2  # no stall begins in a stall
    assert len(stalls) == pytest.approx(10_000 / (10 + within), rel=0.1)
    assert all(STALL_S[0] <= length <= STALL_S[1] for length in stalls)


def test_disconnects_come_at_the_given_rate() -> None:
    def disconnect_s(faults: FaultRates, seed: int) -> float:
        schedule = FaultSchedule(faults, seed)
        return next(tick for tick in range(100_000) if schedule.disconnect(float(tick)))

    assert sum(disconnect_s(FaultRates(drop=2), seed) for seed in range(1_000)) / 1_000 == pytest.approx(30.5, rel=0.1)
    assert FaultSchedule(FaultRates(drop=2), 1).disconnect(10_000) is Disconnect.DROP
    assert FaultSchedule(FaultRates(reconnect=2), 1).disconnect(10_000) is Disconnect.RECONNECT
    assert FaultSchedule(FaultRates(), 1).disconnect(10_000) is None


def test_the_same_seed_gives_the_same_faults() -> None:
    first, second = FaultSchedule(FaultRates(loss=50), 3), FaultSchedule(FaultRates(loss=50), 3)
    assert [first.loses_message() for _ in range(50)] == [second.loses_message() for _ in range(50)]
