from __future__ import annotations

import json

import pytest

from server.audio.framing import FRAME_S
from server.load.caller import CallRecord
from server.load.figures import answer_lag, call_figures, percentiles, summary, underruns

SENT_AT = [100 + i * FRAME_S for i in range(50)]


def answers(turnaround_s: float, lag: int = 0, without: range = range(0)) -> list[float]:
    """When the answers to SENT_AT come; frames `without` are skipped by the server."""
    return [sent + turnaround_s for i, sent in enumerate(SENT_AT) if i >= lag and i not in without]


@pytest.mark.parametrize("lag", [0, 1, 2, 8])
@pytest.mark.parametrize("turnaround_s", [0.001, 0.079, 0.081, 0.2, 0.34])
def test_turnaround_is_found_whatever_the_lag(lag: int, turnaround_s: float) -> None:
    figures = call_figures(CallRecord(sent_at=SENT_AT, heard_at=answers(turnaround_s, lag)))
    assert answer_lag(SENT_AT, answers(turnaround_s, lag)) == lag
    assert len(figures.turnaround_ms) == 50 - lag
    assert figures.turnaround_ms == pytest.approx([1e3 * turnaround_s] * (50 - lag))
    assert figures.missing == 0


def test_a_slow_beginning_does_not_hide_in_the_lag() -> None:
    heard_at = [max(heard, SENT_AT[0] + 1.0) for heard in answers(0.02, lag=1)]
    figures = call_figures(CallRecord(sent_at=SENT_AT, heard_at=heard_at))
    assert figures.turnaround_ms[0] == pytest.approx(1e3 * (1.0 - FRAME_S))
    assert figures.turnaround_ms[-1] == pytest.approx(20)


def test_a_growing_backlog_is_seen_to_grow() -> None:
    heard_at = [sent + 0.01 + 0.02 * i for i, sent in enumerate(SENT_AT)]
    figures = call_figures(CallRecord(sent_at=SENT_AT, heard_at=heard_at))
    assert figures.turnaround_ms[-1] == pytest.approx(10 + 20 * 49)


def test_skipped_frames_are_missing_and_never_flatter() -> None:
    heard_at = answers(0.02, lag=2, without=range(20, 23))
    figures = call_figures(CallRecord(sent_at=SENT_AT, heard_at=heard_at))
    assert figures.missing == 3
    assert min(figures.turnaround_ms) == pytest.approx(20)
    assert figures.gaps == 1


def test_answers_to_silence_after_the_end_change_nothing() -> None:
    heard_at = answers(0.02, lag=2)
    heard_at += [SENT_AT[-1] + 0.4 + k * FRAME_S for k in range(10)]
    figures = call_figures(CallRecord(sent_at=SENT_AT, heard_at=heard_at))
    assert answer_lag(SENT_AT, heard_at) == 2
    assert figures.turnaround_ms == pytest.approx([20] * 48)
    assert figures.missing == 0


@pytest.mark.parametrize("heard_at", [[], [101.0]])
def test_calls_that_hardly_were(heard_at: list[float]) -> None:
    assert call_figures(CallRecord()).turnaround_ms == []
    assert call_figures(CallRecord(sent_at=SENT_AT[:1], heard_at=heard_at)).missing == 1 - len(heard_at)


def test_underruns_of_a_player_with_100_ms() -> None:
    steady = [k * FRAME_S for k in range(20)]
    assert underruns([]) == 0
    assert underruns(steady) == 0
    assert underruns([at + 0.09 * (k == 10) for k, at in enumerate(steady)]) == 0
    assert underruns([at + 0.11 * (k == 10) for k, at in enumerate(steady)]) == 1
    assert underruns([at + 0.11 * (k >= 10) for k, at in enumerate(steady)]) == 1  # buffers anew, later
    assert underruns([at + 0.15 * (k >= 10) + 0.15 * (k >= 15) for k, at in enumerate(steady)]) == 2


def test_gaps_are_intervals_over_two_frames() -> None:
    times = [0.0, 0.08, 0.2, 0.37, 0.45, 2.0]
    assert call_figures(CallRecord(sent_at=times, heard_at=times)).gaps == 2


def test_summary_counts_every_caller_once() -> None:
    good = CallRecord(0.5, None, SENT_AT, [0.001] * 50, answers(0.1), text_pieces=7)
    refused = CallRecord(failure="HTTP 503: full")
    cut_off = CallRecord(0.1, "the connection broke", SENT_AT[:10], [0.002] * 10, answers(0.02)[:9], text_pieces=1)
    figures = summary([good, refused, refused, cut_off])
    assert figures["callers"] == 4
    assert figures["admitted"] == 2
    assert figures["failed"] == 3
    assert figures["failures"] == {"HTTP 503: full": 2, "the connection broke": 1}
    assert (figures["frames_sent"], figures["frames_received"], figures["frames_missing"]) == (60, 59, 1)
    assert figures["late_share"] == pytest.approx(50 / 59)
    assert figures["text_pieces"] == 8
    json.dumps(figures, allow_nan=False)


def test_nothing_measured_is_null_not_zero() -> None:
    figures = summary([CallRecord(failure="HTTP 503: full")])
    assert figures["late_share"] is None
    assert figures["turnaround_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}
    assert percentiles([1.0, 2.0, 3.0])["p50"] == 2
