from __future__ import annotations

import random
from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from server.load.argument_types import ServiceTarget, call_length, duration_mix, fault_rates, ramp, service_target
from server.load.faults import FaultRates


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1..1", [1]),
        ("1..64", [1, 2, 4, 8, 16, 32, 64]),
        ("3..20", [3, 6, 12, 20]),
        ("8..32..8", [8, 16, 24, 32]),
        ("1..10..4", [1, 5, 9, 10]),
    ],
)
def test_ramp_doubles_or_adds_the_step(text: str, levels: list[int]) -> None:
    assert ramp(text) == levels


def test_duration_mix_draws_from_all_its_ranges_and_only_from_them() -> None:
    rng, lengths = random.Random(1), duration_mix("5,10..20,60..300")
    drawn = [lengths.draw(rng) for _ in range(3_000)]
    assert all(s == 5 or 10 <= s <= 20 or 60 <= s <= 300 for s in drawn)
    assert sum(s == 5 for s in drawn) == pytest.approx(1_000, rel=0.1)
    assert sum(s > 20 for s in drawn) == pytest.approx(1_000, rel=0.1)
    assert str(lengths) == "5,10..20,60..300"
    assert lengths.longest_s == 300
    assert duration_mix("0").draw(rng) == 0


def test_service_target_and_fault_rates_are_parsed() -> None:
    assert service_target("p99=120") == ServiceTarget(p99_ms=120, late_percent=1)
    assert service_target("late=0,p99=80.5") == ServiceTarget(p99_ms=80.5, late_percent=0)
    assert fault_rates("loss=2,reconnect=0.5") == FaultRates(loss=2, reconnect=0.5)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((ramp, text) for text in ("", "1", "64..1", "0..4", "1..4..0", "1..2..3..4", "1..99999", "a..b", "-1..4")),
        *((duration_mix, text) for text in ("", ",", "5,", "a", "-1", "9..3", "1..2..3", "nan", "inf", "..")),
        *((call_length, text) for text in ("0", "0..5", "3,0")),
        *(
            (service_target, text)
            for text in ("", "80", "p99", "p99=", "p99=x", "p50=3", "p99=-1", "late=nan", "p99=inf")
        ),
        *((fault_rates, text) for text in ("", "loss", "loss=101", "fire=1", "stall=-1", "stall=1;drop=1")),
    ],
)
def test_invalid_values_are_rejected(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        read(text)
