"""What the recorded times mean: turnaround, lateness, gaps, underruns. Pure arithmetic on records.

**Which output answers which input.** A server answers each input frame with one output frame, after a constant lag
of L frames: an echo has L = 0, Moshi's delays make it 1 or 2. So output j answers input j + L, and

    turnaround of input i = arrival of output i − L, minus the sending of the last packet of input i

No server announces L, but two facts bound it from above, and it is the smaller bound, computed once for each call:
- no output comes before its cause: L <= (newest input sent when output j came) − j, for every j;
- in the end everything sent is answered: L <= inputs sent − outputs received, for a call that is over.
The first is exact as soon as one answer is prompt, the second as soon as none is missing. L belongs to the model and
not to the call, so it is also at most what the other calls of the run show: a call that is late from beginning to end
cannot look better by whole frames if any call was prompt. When a server skips frames, later answers get too small a
number and count as late, which errs against the server; servers that report skips (`?events=1`) are counted correctly.

**What is late.** An input is late when its answer takes longer than a frame, or never comes: percentiles include only
answers that came, and a server must not look better for dropping what it cannot do in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.load.call_record import CallRecord

LATE_MS = 80.0  # one frame: a server that takes longer falls behind the caller
GAP_S = 0.160  # between two output frames: one is missing or late by a frame
PLAYER_BUFFER_S = 0.100
_SILENCE_ANSWERED_AFTER_S = 0.35  # a server may answer silence too, but not earlier than this after the last frame
_MIN_PROMPT_ANSWERS = 12  # a call with fewer answers says nothing about the model's lag

Floats = NDArray[np.float64]
ALWAYS = (float("-inf"), float("inf"))
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Times in monotonic seconds."""

    sent_at: Floats  # [n], by input frame that should be answered, from the L-th on
    turnaround_ms: Floats  # [n]; NaN: never answered
    gap_at: Floats  # when a gap ended
    underrun_at: Floats


def call_figures(call: CallRecord, max_lag: float = float("inf")) -> CallFigures:
    """The figures of one call to a model whose lag is at most `max_lag` frames."""
    sent_at, received_at = np.array(call.sent_at), np.array(call.received_at)
    sent_at = sent_at[int(min(answer_lag(call), max_lag)) :]
    numbers = _numbers(call)
    answers = numbers < len(sent_at)
    turnaround_ms = np.full(len(sent_at), np.nan)
    turnaround_ms[numbers[answers]] = 1e3 * (received_at[answers] - sent_at[numbers[answers]])
    gap_at = received_at[1:][np.diff(received_at) > GAP_S]
    return CallFigures(sent_at, turnaround_ms, gap_at, np.array(underruns(call.received_at)))


def answer_lag(call: CallRecord) -> int:
    """L in frames (see above), as far as this call shows it."""
    sent_at, received_at, numbers = np.array(call.sent_at), np.array(call.received_at), _numbers(call)
    if not len(sent_at) or not len(received_at):
        return 0
    received_while_speaking = received_at[received_at <= sent_at[-1]]
    newest_sent = np.searchsorted(sent_at, received_while_speaking, side="right") - 1
    bounds = [len(sent_at), *(newest_sent - numbers[: len(newest_sent)])]
    answered = np.searchsorted(received_at, sent_at[-1] + _SILENCE_ANSWERED_AFTER_S, side="right")
    if call.ended_at is not None and answered:
        bounds.append(len(sent_at) - 1 - numbers[answered - 1])
    return max(0, int(min(bounds)))


def model_lag(calls: Iterable[CallRecord]) -> float:
    """The smallest L of the calls in which the client itself kept the pace; infinity if there is none."""
    prompt = (
        call
        for call in calls
        if len(call.received_at) >= _MIN_PROMPT_ANSWERS and not call.has_faults and max(call.late_by_s) < FRAME_S
    )
    return min(map(answer_lag, prompt), default=float("inf"))


def _numbers(call: CallRecord) -> NDArray[np.int64]:
    """Which input each output would answer if there were no lag, with the skips that the server reported."""
    numbers = np.arange(len(call.received_at))
    for first, frames in call.skips:
        numbers[first:] += frames
    return numbers


def underruns(received_at: Sequence[float]) -> list[float]:
    """When a player that buffers 100 ms at the start, and again after each underrun, would have had sound again."""
    underrun_at: list[float] = []
    needed_at = received_at[0] + PLAYER_BUFFER_S if len(received_at) else 0.0
    for received in received_at:
        if received > needed_at:
            underrun_at.append(received)
            needed_at = received + PLAYER_BUFFER_S
        needed_at += FRAME_S
    return underrun_at


def summary(
    calls: Sequence[CallRecord], span: tuple[float, float] = ALWAYS, max_lag: float | None = None
) -> dict[str, Any]:
    """The figures of what was sent within `span`, and of the calls that started or failed in it."""
    lag = model_lag(calls) if max_lag is None else max_lag
    each = [call_figures(call, lag) for call in calls]
    turnaround_ms = _joined(figures.turnaround_ms[_within(figures.sent_at, span)] for figures in each)
    answered_ms = turnaround_ms[~np.isnan(turnaround_ms)]
    return {
        **_call_counts(calls, span),
        "frames_sent": sum(int(_within(np.array(call.sent_at), span).sum()) for call in calls),
        "frames_received": sum(int(_within(np.array(call.received_at), span).sum()) for call in calls),
        "frames_missing": len(turnaround_ms) - len(answered_ms),
        "frames_unsent": sum(call.unsent_samples for call in calls) // FRAME_SAMPLES,
        "turnaround_ms": percentiles(answered_ms),
        "late_share": late_share(turnaround_ms),
        "packet_gaps": sum(int(_within(figures.gap_at, span).sum()) for figures in each),
        "underruns": sum(int(_within(figures.underrun_at, span).sum()) for figures in each),
        "text_pieces": sum(call.text_pieces for call in calls),
        "client_lateness_ms": percentiles(_joined(lateness_ms(call)[_within(due_at(call), span)] for call in calls)),
    }


def _call_counts(calls: Sequence[CallRecord], span: tuple[float, float]) -> dict[str, Any]:
    started = [call for call in calls if _is_within(call.started_at, span)]
    handshake_ms = np.array([1e3 * s for call in started if (s := call.handshake_after_s) is not None])
    failures = Counter(call.failure for call in calls if call.failure and _is_within(call.ended_at, span))
    return {
        "callers": len({call.caller for call in calls}),
        "calls": len(started),
        "admitted": len(handshake_ms),
        "failed": failures.total(),
        "failures": dict(failures.most_common()),
        "disconnects": sum(call.was_disconnected for call in started),
        "resumed": sum(call.is_resumed and call.failure is None for call in started),
        "handshake_ms": percentiles(handshake_ms),
    }


def late_share(turnaround_ms: Floats) -> float | None:
    """The share of inputs that were answered late or never."""
    return 1 - float((turnaround_ms <= LATE_MS).mean()) if len(turnaround_ms) else None


def lateness_ms(call: CallRecord) -> Floats:
    """How late the client itself was with each message."""
    return 1e3 * np.array(call.late_by_s, np.float64)


def due_at(call: CallRecord) -> Floats:
    """When each message was due."""
    return call.first_due_at + call.send_interval_s * np.arange(len(call.late_by_s), dtype=np.float64)


def percentiles(values: Floats) -> dict[str, float | None]:
    """p50, p95, p99 and the maximum, as `np.percentile` interpolates them; None if there are no values."""
    if not len(values):
        return dict.fromkeys(PERCENTILES)
    return {name: round(float(np.percentile(values, q)), 2) for name, q in PERCENTILES.items()}


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *parts])


def _within(times: Floats, span: tuple[float, float]) -> NDArray[np.bool_]:
    return (times >= span[0]) & (times < span[1])


def _is_within(at: float | None, span: tuple[float, float]) -> bool:
    return at is not None and span[0] <= at < span[1]
