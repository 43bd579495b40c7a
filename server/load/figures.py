"""What the callers' times mean: turnaround, lateness, gaps, underruns. Pure arithmetic on records.

**Which output answers which input.** A server answers each input frame with one output frame, after a constant lag
of L frames: an echo has L = 0, Moshi's delays make it 1 or 2. So output j answers input j + L, and

    turnaround of input i = arrival of output i − L, less the sending of the last packet of input i

L is not announced, but two things bound it from above, and it is taken as the smaller one, once for each call:
- no output comes before its cause: L <= (newest input sent when output j came) − j, for every j;
- in the end everything sent is answered: L <= inputs sent − outputs received, of a call that is over.
The first is exact as soon as one answer is prompt, the second as soon as none is missing. L is the model's and not the
call's, so it is also at most what the other calls of the run show: a call that is late from beginning to end cannot
flatter itself by whole frames when any call was prompt. When a server skips frames, later answers come early for their
number and count as late, which errs against the server; it is put right for servers that tell of skips (`?events=1`).

**What is late.** An input is late when its answer takes longer than a frame, or never comes: percentiles know only
answers that came, and a server that drops what it cannot do in time must not look better for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.load.record import CallRecord

LATE_MS = 80.0  # one frame: whoever takes longer than this falls behind the caller
GAP_S = 0.160  # between two output frames: one is missing or late by a frame
PLAYER_BUFFER_S = 0.100
_SILENCE_ANSWERED_AFTER_S = 0.35  # a server may answer a silent line too; until then nothing can be that
_PROMPT_ANSWERS = 12  # from so many on, a call says something of the model's lag

Floats = NDArray[np.float64]
ALWAYS = (float("-inf"), float("inf"))
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Times in monotonic seconds."""

    sent_at: Floats  # [n], by input frame that should be answered, that is from the L-th on
    turnaround_ms: Floats  # [n]; NaN: was never answered
    gap_at: Floats  # when a gap ended
    underrun_at: Floats


def call_figures(call: CallRecord, most_lag: float = float("inf")) -> CallFigures:
    """The figures of one call, of a model whose lag is at most `most_lag` frames."""
    sent_at, heard_at = np.array(call.sent_at), np.array(call.heard_at)
    sent_at = sent_at[int(min(answer_lag(call), most_lag)) :]
    numbers = _numbers(call)
    answers = numbers < len(sent_at)
    turnaround_ms = np.full(len(sent_at), np.nan)
    turnaround_ms[numbers[answers]] = 1e3 * (heard_at[answers] - sent_at[numbers[answers]])
    gap_at = heard_at[1:][np.diff(heard_at) > GAP_S]
    return CallFigures(sent_at, turnaround_ms, gap_at, np.array(underruns(call.heard_at)))


def answer_lag(call: CallRecord) -> int:
    """L, in frames (see above), as far as this call shows it."""
    sent_at, heard_at, numbers = np.array(call.sent_at), np.array(call.heard_at), _numbers(call)
    if not len(sent_at) or not len(heard_at):
        return 0
    heard_while_speaking = heard_at[heard_at <= sent_at[-1]]
    newest_sent = np.searchsorted(sent_at, heard_while_speaking, side="right") - 1
    bounds = [len(sent_at), *(newest_sent - numbers[: len(newest_sent)])]
    answered = np.searchsorted(heard_at, sent_at[-1] + _SILENCE_ANSWERED_AFTER_S, side="right")
    if call.over_at is not None and answered:
        bounds.append(len(sent_at) - 1 - numbers[answered - 1])
    return max(0, int(min(bounds)))


def model_lag(calls: Iterable[CallRecord]) -> float:
    """The smallest L that a call shows whose own caller kept the pace; infinity when none did."""
    prompt = (
        call
        for call in calls
        if len(call.heard_at) >= _PROMPT_ANSWERS and not call.is_troubled and max(call.late_by_s) < FRAME_S
    )
    return min(map(answer_lag, prompt), default=float("inf"))


def _numbers(call: CallRecord) -> NDArray[np.int64]:
    """Which input each output would answer without a lag, the skips counted in that the server told of."""
    numbers = np.arange(len(call.heard_at))
    for first, frames in call.skips:
        numbers[first:] += frames
    return numbers


def underruns(heard_at: Sequence[float]) -> list[float]:
    """When a player that buffers 100 ms at the start, and again after each underrun, would have had sound again."""
    dry: list[float] = []
    needed_at = heard_at[0] + PLAYER_BUFFER_S if len(heard_at) else 0.0
    for heard in heard_at:
        if heard > needed_at:
            dry.append(heard)
            needed_at = heard + PLAYER_BUFFER_S
        needed_at += FRAME_S
    return dry


def summary(
    calls: Sequence[CallRecord], span: tuple[float, float] = ALWAYS, most_lag: float | None = None
) -> dict[str, Any]:
    """The figures of what was sent within `span`, and of the calls that were dialled or failed in it."""
    lag = model_lag(calls) if most_lag is None else most_lag
    each = [call_figures(call, lag) for call in calls]
    turnaround_ms = _joined(figures.turnaround_ms[_within(figures.sent_at, span)] for figures in each)
    answered_ms = turnaround_ms[~np.isnan(turnaround_ms)]
    made = [call for call in calls if _is_within(call.dialled_at, span)]
    greeted_after_ms = np.array([1e3 * s for call in made if (s := call.greeted_after_s) is not None])
    why = Counter(call.failure for call in calls if call.failure and _is_within(call.over_at, span))
    return {
        "callers": len({call.caller for call in calls}),
        "calls": len(made),
        "admitted": len(greeted_after_ms),
        "failed": why.total(),
        "failures": dict(why.most_common()),
        "lines_cut": sum(call.was_cut for call in made),
        "resumed": sum(call.is_resumed and call.failure is None for call in made),
        "greeted_after_ms": percentiles(greeted_after_ms),
        "frames_sent": sum(int(_within(np.array(call.sent_at), span).sum()) for call in calls),
        "frames_received": sum(int(_within(np.array(call.heard_at), span).sum()) for call in calls),
        "frames_missing": len(turnaround_ms) - len(answered_ms),
        "frames_unsent": sum(call.unsent_samples for call in calls) // FRAME_SAMPLES,
        "turnaround_ms": percentiles(answered_ms),
        "late_share": late_share(turnaround_ms),
        "packet_gaps": sum(int(_within(figures.gap_at, span).sum()) for figures in each),
        "underruns": sum(int(_within(figures.underrun_at, span).sum()) for figures in each),
        "text_pieces": sum(call.text_pieces for call in calls),
        "own_lateness_ms": percentiles(_joined(lateness_ms(call)[_within(due_at(call), span)] for call in calls)),
    }


def late_share(turnaround_ms: Floats) -> float | None:
    """Of the inputs, those that were answered late or never."""
    return 1 - float((turnaround_ms <= LATE_MS).mean()) if len(turnaround_ms) else None


def lateness_ms(call: CallRecord) -> Floats:
    """By how much our own caller was behind the clock, each time it sent."""
    return 1e3 * np.array(call.late_by_s, np.float64)


def due_at(call: CallRecord) -> Floats:
    """When the clock wanted these to be sent."""
    return call.due_from + call.due_every_s * np.arange(len(call.late_by_s), dtype=np.float64)


def percentiles(values: Floats) -> dict[str, float | None]:
    """p50, p95, p99 and the maximum; None where nothing was measured."""
    if not len(values):
        return dict.fromkeys(PERCENTILES)
    return {name: round(float(np.percentile(values, q)), 2) for name, q in PERCENTILES.items()}


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *parts])


def _within(times: Floats, span: tuple[float, float]) -> NDArray[np.bool_]:
    return (times >= span[0]) & (times < span[1])


def _is_within(at: float | None, span: tuple[float, float]) -> bool:
    return at is not None and span[0] <= at < span[1]
