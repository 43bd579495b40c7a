"""What the callers' times mean: turnaround, lateness, gaps, underruns. Pure arithmetic on records.

**Which output answers which input.** A server answers each input frame with one output frame, after a constant lag
of L frames: an echo has L = 0, Moshi's delays make it 1 or 2. So output j answers input j + L, and

    turnaround of output j = arrival of output j − sending of the last packet of input j + L

L is not announced, but two things bound it from above, and it is taken as the smaller one, once for each call:
- no output comes before its cause: L <= (newest input sent when output j came) − j, for every j;
- in the end everything sent is answered: L <= inputs sent − outputs received.
The first is exact as soon as one answer is prompt, the second as soon as none is missing; only a call that is both late
from beginning to end and incomplete is flattered, and its missing frames tell. When a server skips frames, later
answers come early for their number and count as late: that errs against the server, and again the missing frames tell.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.audio.framing import FRAME_S
from server.load.caller import CallRecord

LATE_MS = 80.0  # one frame: whoever takes longer than this falls behind the caller
GAP_S = 0.160  # between two output frames: one is missing or late by a frame
PLAYER_BUFFER_S = 0.100
_SILENCE_ANSWERED_AFTER_S = 0.35  # a server may answer a silent line too; until then nothing can be that


@dataclass(frozen=True, slots=True)
class CallFigures:
    turnaround_ms: list[float]
    missing: int  # input frames that were never answered
    gaps: int
    underruns: int


def call_figures(call: CallRecord) -> CallFigures:
    """The figures of one call."""
    lag = answer_lag(call.sent_at, call.heard_at)
    answers = zip(call.heard_at, call.sent_at[lag:], strict=False)
    turnaround_ms = [1e3 * (heard - sent) for heard, sent in answers]
    gaps = sum(1 for a, b in zip(call.heard_at, call.heard_at[1:], strict=False) if b - a > GAP_S)
    missing = max(0, len(call.sent_at) - lag - len(call.heard_at))
    return CallFigures(turnaround_ms, missing, gaps, underruns(call.heard_at))


def answer_lag(sent_at: Sequence[float], heard_at: Sequence[float]) -> int:
    """L, in frames (see above)."""
    if not sent_at or not heard_at:
        return 0
    answered = bisect.bisect_right(heard_at, sent_at[-1] + _SILENCE_ANSWERED_AFTER_S)
    heard_while_speaking = heard_at[: bisect.bisect_right(heard_at, sent_at[-1])]
    newest_cause = (bisect.bisect_right(sent_at, heard) - 1 - j for j, heard in enumerate(heard_while_speaking))
    return max(0, min([len(sent_at) - answered, *newest_cause]))


def underruns(heard_at: Sequence[float]) -> int:
    """How often a player that buffers 100 ms at the start, and again after each underrun, would have run dry."""
    count = 0
    needed_at = heard_at[0] + PLAYER_BUFFER_S if heard_at else 0.0
    for heard in heard_at:
        if heard > needed_at:
            count += 1
            needed_at = heard + PLAYER_BUFFER_S
        needed_at += FRAME_S
    return count


def summary(calls: Sequence[CallRecord]) -> dict[str, object]:
    """The figures of a whole run, as they go into the JSON file."""
    each = [call_figures(call) for call in calls]
    turnaround_ms = [ms for figures in each for ms in figures.turnaround_ms]
    late_by_ms = [1e3 * s for call in calls for s in call.late_by_s]
    greeted_after_ms = [1e3 * s for call in calls if (s := call.greeted_after_s) is not None]
    return {
        "callers": len(calls),
        "admitted": len(greeted_after_ms),
        "failed": sum(call.failure is not None for call in calls),
        "failures": dict(Counter(call.failure for call in calls if call.failure).most_common()),
        "greeted_after_ms": percentiles(greeted_after_ms),
        "frames_sent": sum(len(call.sent_at) for call in calls),
        "frames_received": sum(len(call.heard_at) for call in calls),
        "frames_missing": sum(figures.missing for figures in each),
        "turnaround_ms": percentiles(turnaround_ms),
        "late_share": float(np.mean(np.array(turnaround_ms) > LATE_MS)) if turnaround_ms else None,
        "packet_gaps": sum(figures.gaps for figures in each),
        "underruns": sum(figures.underruns for figures in each),
        "text_pieces": sum(call.text_pieces for call in calls),
        "own_lateness_ms": percentiles(late_by_ms),
    }


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95, p99 and the maximum; None where nothing was measured."""
    names = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    if not values:
        return dict.fromkeys(names)
    return {name: round(float(np.percentile(values, q)), 2) for name, q in names.items()}
