from __future__ import annotations

import json

import numpy as np
import pytest

from server.audio.framing import FRAME_S
from server.load.call_record import CallRecord
from server.load.figures import answer_lag, call_figures, model_lag, percentiles, summary, underruns
from tests.server.load.records import record

SENT_AT = [100 + i * FRAME_S for i in range(50)]


def answers(turnaround_s: float, lag: int = 0, without: range = range(0)) -> list[float]:
    """When the answers to SENT_AT come; the server skips the frames `without`."""
    return [sent + turnaround_s for i, sent in enumerate(SENT_AT) if i >= lag and i not in without]


@pytest.mark.parametrize("lag", [0, 1, 2, 8])
@pytest.mark.parametrize("turnaround_s", [0.001, 0.079, 0.081, 0.2, 0.34])
def test_turnaround_is_independent_of_the_lag(lag: int, turnaround_s: float) -> None:
    call = record(SENT_AT, answers(turnaround_s, lag))
    turnaround_ms = call_figures(call).turnaround_ms
    assert answer_lag(call) == lag
    assert turnaround_ms == pytest.approx([1e3 * turnaround_s] * (50 - lag))
    assert summary([call])["frames_missing"] == 0


def test_a_slow_start_is_not_mistaken_for_lag() -> None:
    received_at = [max(heard, SENT_AT[0] + 1.0) for heard in answers(0.02, lag=1)]
    turnaround_ms = call_figures(record(SENT_AT, received_at)).turnaround_ms
    assert turnaround_ms[0] == pytest.approx(1e3 * (1.0 - FRAME_S))
    assert turnaround_ms[-1] == pytest.approx(20)


def test_turnaround_grows_with_a_backlog() -> None:
    received_at = [sent + 0.01 + 0.02 * i for i, sent in enumerate(SENT_AT)]
    assert call_figures(record(SENT_AT, received_at)).turnaround_ms[-1] == pytest.approx(10 + 20 * 49)


def test_skipped_frames_are_missing_and_never_shorten_the_turnaround() -> None:
    call = record(SENT_AT, answers(0.02, lag=2, without=range(20, 23)))
    figures = summary([call])
    assert figures["frames_missing"] == 3
    assert np.nanmin(call_figures(call).turnaround_ms) == pytest.approx(20)
    assert figures["packet_gaps"] == 1


def test_a_reported_skip_is_counted() -> None:
    call = record(SENT_AT, answers(0.02, without=range(20, 23)))
    call.skips = [(20, 3)]
    turnaround_ms = call_figures(call).turnaround_ms
    assert np.flatnonzero(np.isnan(turnaround_ms)).tolist() == [20, 21, 22]
    assert turnaround_ms[~np.isnan(turnaround_ms)] == pytest.approx([20] * 47)


def test_answers_to_silence_after_the_end_are_ignored() -> None:
    received_at = answers(0.02, lag=2)
    received_at += [SENT_AT[-1] + 0.4 + k * FRAME_S for k in range(10)]
    call = record(SENT_AT, received_at)
    assert answer_lag(call) == 2
    assert call_figures(call).turnaround_ms == pytest.approx([20] * 48)
    assert summary([call])["frames_missing"] == 0


def test_a_call_that_is_always_late_is_measured_with_the_lag_of_a_prompt_one() -> None:
    prompt, late = record(SENT_AT, answers(0.02, lag=1)), record(SENT_AT, answers(0.13, lag=1)[:40], is_over=False)
    assert answer_lag(late) == 2  # alone, it looks 80 ms better than it is
    assert summary([late])["turnaround_ms"]["p50"] == pytest.approx(50)
    assert model_lag([prompt, late]) == 1
    assert summary([late], max_lag=1)["turnaround_ms"]["p50"] == pytest.approx(130)


def test_a_call_whose_client_was_late_says_nothing_about_the_lag() -> None:
    call = record(SENT_AT, answers(0.02, lag=1))
    call.late_by_s[7] = 0.5
    assert model_lag([call]) == float("inf")


@pytest.mark.parametrize("received_at", [[], [101.0]])
def test_calls_with_one_frame_or_none(received_at: list[float]) -> None:
    assert len(call_figures(CallRecord()).turnaround_ms) == 0
    assert summary([record(SENT_AT[:1], received_at)])["frames_missing"] == 1 - len(received_at)


def test_underruns_of_a_player_with_a_buffer_of_100_ms() -> None:
    steady = [k * FRAME_S for k in range(20)]
    assert underruns([]) == []
    assert underruns(steady) == []
    assert underruns([at + 0.09 * (k == 10) for k, at in enumerate(steady)]) == []
    assert underruns([at + 0.11 * (k == 10) for k, at in enumerate(steady)]) == [pytest.approx(0.91)]
    assert len(underruns([at + 0.11 * (k >= 10) for k, at in enumerate(steady)])) == 1  # buffers again, later
    assert len(underruns([at + 0.15 * (k >= 10) + 0.15 * (k >= 15) for k, at in enumerate(steady)])) == 2


def test_gaps_are_intervals_longer_than_two_frames() -> None:
    times = [0.0, 0.08, 0.2, 0.37, 0.45, 2.0]
    assert call_figures(record(times, times)).gap_at.tolist() == [0.37, 2.0]


def test_percentiles_of_known_distributions() -> None:
    rng = np.random.default_rng(1)
    assert percentiles(np.arange(1.0, 102.0)) == {"p50": 51, "p95": 96, "p99": 100, "max": 101}
    spread = percentiles(rng.exponential(10, 200_000))
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert spread[name] == pytest.approx(-10 * np.log(1 - share), rel=0.02)


def test_summary_of_many_calls_matches_the_distribution_of_their_answers() -> None:
    rng = np.random.default_rng(2)
    calls = []
    for _ in range(200):
        sent_at = 100 + rng.random() + np.arange(250) * FRAME_S
        calls.append(record(sent_at, np.maximum.accumulate(sent_at + 0.05 + 0.04 * rng.random(250))))
    figures = summary(calls)
    assert figures["turnaround_ms"]["p50"] == pytest.approx(70, abs=0.5)
    assert figures["turnaround_ms"]["p99"] == pytest.approx(89.6, abs=0.3)
    assert figures["late_share"] == pytest.approx(0.25, abs=0.01)


def test_a_stall_counts_for_every_frame_due_in_it() -> None:
    """Coordinated omission: a client that waits for each answer would see one slow answer in 2 s, not 25."""
    received_at = [max(sent + 0.02, 102.0) if 100 <= sent < 102 else sent + 0.02 for sent in SENT_AT]
    figures = summary([record(SENT_AT, received_at)])
    assert figures["turnaround_ms"]["max"] == pytest.approx(2_000, abs=1)
    assert figures["late_share"] == pytest.approx(24 / 50)
    assert figures["turnaround_ms"]["p50"] > 20


def test_an_unanswered_frame_is_late() -> None:
    assert summary([record(SENT_AT, answers(0.02)[:25])])["late_share"] == pytest.approx(0.5)
    assert summary([record(SENT_AT, [])])["late_share"] == 1


def test_summary_counts_every_call_once() -> None:
    good, cut_off = record(SENT_AT, answers(0.1)), record(SENT_AT[:10], answers(0.02)[:9])
    good.text_pieces, cut_off.text_pieces = 7, 1
    cut_off.caller, cut_off.failure = 1, "connection lost"
    refused = [CallRecord(n, started_at=99.0, ended_at=99.1, failure="HTTP 503: full") for n in (2, 3)]
    figures = summary([good, *refused, cut_off])
    assert figures["callers"] == figures["calls"] == 4
    assert figures["admitted"] == 2
    assert figures["failed"] == 3
    assert figures["failures"] == {"HTTP 503: full": 2, "connection lost": 1}
    assert (figures["frames_sent"], figures["frames_received"], figures["frames_missing"]) == (60, 59, 1)
    assert figures["late_share"] == pytest.approx(51 / 60)
    assert figures["text_pieces"] == 8
    json.dumps(figures, allow_nan=False)


def test_summary_of_a_span_counts_what_was_sent_started_and_failed_in_it() -> None:
    call = record(SENT_AT, answers(0.02))
    refused = CallRecord(1, started_at=101.0, ended_at=101.1, failure="HTTP 503: full")
    figures = summary([call, refused], (101.0, 102.0))
    assert figures["frames_sent"] in (12, 13)
    assert (figures["calls"], figures["failed"]) == (1, 1)
    assert summary([call, refused], (200.0, 300.0))["late_share"] is None


def test_figures_without_values_are_null() -> None:
    figures = summary([CallRecord(failure="HTTP 503: full", ended_at=1.0)])
    assert figures["late_share"] is None
    assert figures["turnaround_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}
