from __future__ import annotations

import random
from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from server.load.choices import Bar, bar, faults, mix, ramp, talk
from server.load.troubles import Faults


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
def test_ramps(text: str, levels: list[int]) -> None:
    assert ramp(text) == levels


def test_a_mix_draws_from_all_its_ranges_and_from_nowhere_else() -> None:
    dice, lengths = random.Random(1), mix("5,10..20,60..300")
    drawn = [lengths.draw(dice) for _ in range(3_000)]
    assert all(s == 5 or 10 <= s <= 20 or 60 <= s <= 300 for s in drawn)
    assert sum(s == 5 for s in drawn) == pytest.approx(1_000, rel=0.1)
    assert sum(s > 20 for s in drawn) == pytest.approx(1_000, rel=0.1)
    assert str(lengths) == "5,10..20,60..300"
    assert lengths.longest_s == 300
    assert mix("0").draw(dice) == 0


def test_bars_and_faults() -> None:
    assert bar("p99=120") == Bar(p99_ms=120, late_percent=1)
    assert bar("late=0,p99=80.5") == Bar(p99_ms=80.5, late_percent=0)
    assert faults("loss=2,reconnect=0.5") == Faults(loss=2, reconnect=0.5)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((ramp, text) for text in ("", "1", "64..1", "0..4", "1..4..0", "1..2..3..4", "1..99999", "a..b", "-1..4")),
        *((mix, text) for text in ("", ",", "5,", "a", "-1", "9..3", "1..2..3", "nan", "inf", "..")),
        *((talk, text) for text in ("0", "0..5", "3,0")),
        *((bar, text) for text in ("", "80", "p99", "p99=", "p99=x", "p50=3", "p99=-1", "late=nan", "p99=inf")),
        *((faults, text) for text in ("", "loss", "loss=101", "fire=1", "stall=-1", "stall=1;drop=1")),
    ],
)
def test_what_means_nothing(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        read(text)
