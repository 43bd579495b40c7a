from __future__ import annotations

import json

import numpy as np
import pytest

from server.audio.framing import FRAME_S
from server.load.figures import answer_lag, call_figures, model_lag, percentiles, summary, underruns
from server.load.record import CallRecord
from tests.server.load.records import record

SENT_AT = [100 + i * FRAME_S for i in range(50)]


def answers(turnaround_s: float, lag: int = 0, without: range = range(0)) -> list[float]:
    """When the answers to SENT_AT come; frames `without` are skipped by the server."""
    return [sent + turnaround_s for i, sent in enumerate(SENT_AT) if i >= lag and i not in without]


@pytest.mark.parametrize("lag", [0, 1, 2, 8])
@pytest.mark.parametrize("turnaround_s", [0.001, 0.079, 0.081, 0.2, 0.34])
def test_turnaround_is_found_whatever_the_lag(lag: int, turnaround_s: float) -> None:
    call = record(SENT_AT, answers(turnaround_s, lag))
    turnaround_ms = call_figures(call).turnaround_ms
    assert answer_lag(call) == lag
    assert turnaround_ms == pytest.approx([1e3 * turnaround_s] * (50 - lag))
    assert summary([call])["frames_missing"] == 0


def test_a_slow_beginning_does_not_hide_in_the_lag() -> None:
    heard_at = [max(heard, SENT_AT[0] + 1.0) for heard in answers(0.02, lag=1)]
    turnaround_ms = call_figures(record(SENT_AT, heard_at)).turnaround_ms
    assert turnaround_ms[0] == pytest.approx(1e3 * (1.0 - FRAME_S))
    assert turnaround_ms[-1] == pytest.approx(20)


def test_a_growing_backlog_is_seen_to_grow() -> None:
    heard_at = [sent + 0.01 + 0.02 * i for i, sent in enumerate(SENT_AT)]
    assert call_figures(record(SENT_AT, heard_at)).turnaround_ms[-1] == pytest.approx(10 + 20 * 49)


def test_skipped_frames_are_missing_and_never_flatter() -> None:
    call = record(SENT_AT, answers(0.02, lag=2, without=range(20, 23)))
    figures = summary([call])
    assert figures["frames_missing"] == 3
    assert np.nanmin(call_figures(call).turnaround_ms) == pytest.approx(20)
    assert figures["packet_gaps"] == 1


def test_who_is_told_of_a_skip_counts_on_from_the_right_frame() -> None:
    call = record(SENT_AT, answers(0.02, without=range(20, 23)))
    call.skips = [(20, 3)]
    turnaround_ms = call_figures(call).turnaround_ms
    assert np.flatnonzero(np.isnan(turnaround_ms)).tolist() == [20, 21, 22]
    assert turnaround_ms[~np.isnan(turnaround_ms)] == pytest.approx([20] * 47)


def test_answers_to_silence_after_the_end_change_nothing() -> None:
    heard_at = answers(0.02, lag=2)
    heard_at += [SENT_AT[-1] + 0.4 + k * FRAME_S for k in range(10)]
    call = record(SENT_AT, heard_at)
    assert answer_lag(call) == 2
    assert call_figures(call).turnaround_ms == pytest.approx([20] * 48)
    assert summary([call])["frames_missing"] == 0


def test_a_call_that_is_late_from_the_first_to_the_last_frame_does_not_flatter_itself_beside_a_prompt_one() -> None:
    prompt, late = record(SENT_AT, answers(0.02, lag=1)), record(SENT_AT, answers(0.13, lag=1)[:40], over=False)
    assert answer_lag(late) == 2  # by itself it looks 80 ms better than it is
    assert summary([late])["turnaround_ms"]["p50"] == pytest.approx(50)
    assert model_lag([prompt, late]) == 1
    assert summary([late], most_lag=1)["turnaround_ms"]["p50"] == pytest.approx(130)


def test_a_caller_who_was_itself_late_says_nothing_of_the_model() -> None:
    call = record(SENT_AT, answers(0.02, lag=1))
    call.late_by_s[7] = 0.5
    assert model_lag([call]) == float("inf")


@pytest.mark.parametrize("heard_at", [[], [101.0]])
def test_calls_that_hardly_were(heard_at: list[float]) -> None:
    assert len(call_figures(CallRecord()).turnaround_ms) == 0
    assert summary([record(SENT_AT[:1], heard_at)])["frames_missing"] == 1 - len(heard_at)


def test_underruns_of_a_player_with_100_ms() -> None:
    steady = [k * FRAME_S for k in range(20)]
    assert underruns([]) == []
    assert underruns(steady) == []
    assert underruns([at + 0.09 * (k == 10) for k, at in enumerate(steady)]) == []
    assert underruns([at + 0.11 * (k == 10) for k, at in enumerate(steady)]) == [pytest.approx(0.91)]
    assert len(underruns([at + 0.11 * (k >= 10) for k, at in enumerate(steady)])) == 1  # buffers anew, later
    assert len(underruns([at + 0.15 * (k >= 10) + 0.15 * (k >= 15) for k, at in enumerate(steady)])) == 2


def test_gaps_are_intervals_over_two_frames() -> None:
    times = [0.0, 0.08, 0.2, 0.37, 0.45, 2.0]
    assert call_figures(record(times, times)).gap_at.tolist() == [0.37, 2.0]


def test_percentiles_of_known_distributions() -> None:
    dice = np.random.default_rng(1)
    assert percentiles(np.arange(1.0, 102.0)) == {"p50": 51, "p95": 96, "p99": 100, "max": 101}
    spread = percentiles(dice.exponential(10, 200_000))
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert spread[name] == pytest.approx(-10 * np.log(1 - share), rel=0.02)


def test_the_figures_of_many_calls_are_those_of_the_distribution_their_answers_were_drawn_from() -> None:
    dice = np.random.default_rng(2)
    calls = []
    for _ in range(200):
        sent_at = 100 + dice.random() + np.arange(250) * FRAME_S
        calls.append(record(sent_at, np.maximum.accumulate(sent_at + 0.05 + 0.04 * dice.random(250))))
    figures = summary(calls)
    assert figures["turnaround_ms"]["p50"] == pytest.approx(70, abs=0.5)
    assert figures["turnaround_ms"]["p99"] == pytest.approx(89.6, abs=0.3)
    assert figures["late_share"] == pytest.approx(0.25, abs=0.01)


def test_a_stall_is_counted_for_every_frame_that_was_due_in_it() -> None:
    """Coordinated omission: whoever waits for the answer before it asks again sees one slow answer in 2 s, not 25."""
    heard_at = [max(sent + 0.02, 102.0) if 100 <= sent < 102 else sent + 0.02 for sent in SENT_AT]
    figures = summary([record(SENT_AT, heard_at)])
    assert figures["turnaround_ms"]["max"] == pytest.approx(2_000, abs=1)
    assert figures["late_share"] == pytest.approx(24 / 50)
    assert figures["turnaround_ms"]["p50"] > 20


def test_a_frame_that_was_never_answered_is_late() -> None:
    assert summary([record(SENT_AT, answers(0.02)[:25])])["late_share"] == pytest.approx(0.5)
    assert summary([record(SENT_AT, [])])["late_share"] == 1


def test_summary_counts_every_call_once() -> None:
    good, cut_off = record(SENT_AT, answers(0.1)), record(SENT_AT[:10], answers(0.02)[:9])
    good.text_pieces, cut_off.text_pieces = 7, 1
    cut_off.caller, cut_off.failure = 1, "the connection broke"
    refused = [CallRecord(n, dialled_at=99.0, over_at=99.1, failure="HTTP 503: full") for n in (2, 3)]
    figures = summary([good, *refused, cut_off])
    assert figures["callers"] == figures["calls"] == 4
    assert figures["admitted"] == 2
    assert figures["failed"] == 3
    assert figures["failures"] == {"HTTP 503: full": 2, "the connection broke": 1}
    assert (figures["frames_sent"], figures["frames_received"], figures["frames_missing"]) == (60, 59, 1)
    assert figures["late_share"] == pytest.approx(51 / 60)
    assert figures["text_pieces"] == 8
    json.dumps(figures, allow_nan=False)


def test_a_span_of_time_has_what_was_sent_and_made_and_failed_in_it() -> None:
    call = record(SENT_AT, answers(0.02))
    refused = CallRecord(1, dialled_at=101.0, over_at=101.1, failure="HTTP 503: full")
    figures = summary([call, refused], (101.0, 102.0))
    assert figures["frames_sent"] in (12, 13)
    assert (figures["calls"], figures["failed"]) == (1, 1)
    assert summary([call, refused], (200.0, 300.0))["late_share"] is None


def test_nothing_measured_is_null_not_zero() -> None:
    figures = summary([CallRecord(failure="HTTP 503: full", over_at=1.0)])
    assert figures["late_share"] is None
    assert figures["turnaround_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}
