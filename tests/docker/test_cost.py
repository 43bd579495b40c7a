"""The arithmetic of a fleet's cost."""

from __future__ import annotations

import math
import tomllib

import pytest

from docker.cost import PRICES, main, rows
from model.hardware.gpus import GPUS


def test_pods_and_prices_follow_from_the_calls_per_gpu() -> None:
    [row] = rows({"l4": 0.9}, callers=100, fill=0.5, spare=1, quantization="int8")
    assert row.calls_per_gpu == 9  # as the README's table says
    assert row.pods == math.ceil(100 / 4.5) + 1
    assert row.total_usd_per_hour == pytest.approx(row.pods * 0.9)
    assert row.usd_per_call_hour * 100 == pytest.approx(row.total_usd_per_hour)


def test_rows_are_sorted_by_price_per_call_without_unfit_gpus() -> None:
    found = rows({"h100": 4.0, "h200": 4.0, "l4": 0.8}, callers=1000, fill=1, spare=0, quantization="none")
    assert [row.gpu for row in found] == ["H200", "H100"]  # in bfloat16 an L4 is too slow for one caller


def test_every_price_has_a_known_gpu_a_date_and_a_source() -> None:
    prices = tomllib.loads(PRICES.read_text())
    assert prices.keys() <= GPUS.keys()
    assert all(entry["usd_per_hour"] > 0 and entry["source"] and entry["as_of"] for entry in prices.values())


@pytest.mark.parametrize(
    "wrong", [["--price", "l4"], ["--price", "abacus=1"], ["--price", "l4=nan"], ["--callers", "0"], ["--fill", "2"]]
)
def test_invalid_arguments_are_one_error(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cost", *wrong])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.count("error:") == 1
