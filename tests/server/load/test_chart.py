from __future__ import annotations

import pytest

from server.load import chart


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 64, [0, 20, 40, 60]), (0, 0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]), (3, 3, [3])],
)
def test_ticks_are_round_numbers_within_the_range(least: float, most: float, expected: list[float]) -> None:
    assert chart.ticks(least, most) == expected


def test_log_ticks_thin_out_over_many_decades() -> None:
    assert chart.log_ticks(3, 120) == [5, 10, 20, 50, 100]
    assert chart.log_ticks(1, 5_000) == [1, 10, 100, 1_000]


def test_scales_map_their_ends_to_the_margins() -> None:
    x, y = chart.x_scale(10, 20), chart.y_log_scale(1, 100)
    assert (x(10), x(20)) == (chart.LEFT, chart.WIDTH - chart.RIGHT)
    assert (y(1), y(100)) == (chart.HEIGHT - chart.BOTTOM, chart.TOP)
    assert y(10) == pytest.approx((y(1) + y(100)) / 2)
    assert y(0) == y(1)  # nothing is drawn outside


def test_path_is_interrupted_where_a_value_is_missing() -> None:
    def same(value: float) -> float:
        return value

    assert chart.path([0, 1, 2, 3], [5, None, 6, 7], same, same) == "M0.0 5.0M2.0 6.0L3.0 7.0"
    assert chart.stairs([0, 1], [2, 3], 4, same, same) == "M0.0 0.0L0.0 2.0L1.0 2.0L1.0 3.0L4.0 3.0L4.0 0.0Z"
    assert chart.stairs([], [], 4, same, same) == ""
    assert [box.x for box in chart.columns("gap", [0, 10, 20], [1, 0, 2], 10, same, same)] == [0, 20]
