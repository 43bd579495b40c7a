from __future__ import annotations

import math
from itertools import pairwise

import pytest

from server.audio.framing import FRAME_S
from server.sessions.pacing import AHEAD_S, SILENCE_AFTER_S, PaceLimiter, SessionClock


def test_session_clock_gives_no_silence_before_the_first_frame():
    clock = SessionClock()
    assert clock.silence_due_at == math.inf
    assert not clock.takes_silence(1e6)


def test_silence_is_given_every_80_ms_while_no_frame_arrives():
    clock = SessionClock()
    assert clock.hears(0.0)
    taken_at = [ms / 1000 for ms in range(0, 10_000, 10) if clock.takes_silence(ms / 1000)]
    assert taken_at[0] == pytest.approx(SILENCE_AFTER_S)
    assert len(taken_at) == pytest.approx((10 - SILENCE_AFTER_S) / FRAME_S, abs=2)
    gaps = [later - earlier for earlier, later in pairwise(taken_at)]
    assert min(gaps) > FRAME_S - 0.011 and max(gaps) < FRAME_S + 0.011


def test_silence_after_an_engine_stall_is_a_single_frame():
    clock = SessionClock()
    clock.hears(0.0)
    assert clock.takes_silence(60.0)
    assert [clock.takes_silence(60.0 + ms / 1000) for ms in range(0, 79, 10)].count(True) <= 1


def test_steady_frames_are_never_replaced_by_silence():
    clock = SessionClock()
    for number in range(10_000):
        now = number * FRAME_S
        assert clock.hears(now)
        assert not clock.takes_silence(now + FRAME_S * 0.99)


def test_frames_that_silence_replaced_during_a_stall_are_late():
    """A network stall of 3 s, then all its frames at once, then live frames: the model keeps the time of the clock."""
    clock = SessionClock()
    clock.hears(0.0)
    silences = sum(clock.takes_silence(ms / 1000) for ms in range(0, 3000, 5))
    burst = [clock.hears(3.0) for _ in range(37)]
    live = [clock.hears(3.0 + FRAME_S * (n + 1)) for n in range(100)]
    assert burst.count(False) == silences
    assert all(live)
    frames = 1 + silences + burst.count(True) + len(live)
    assert abs(frames - (3.0 + FRAME_S * 100) / FRAME_S) <= 2


def test_no_frame_is_late_after_a_mute():
    clock = SessionClock()
    clock.hears(0.0)
    for ms in range(0, 5000, 5):
        clock.takes_silence(ms / 1000)
    jitter_s = [0.0, 0.03, -0.03, 0.05, -0.05, 0.02]
    assert all(clock.hears(5.0 + n * FRAME_S + jitter_s[n % 6]) for n in range(200))


def test_burst_long_after_the_silence_is_not_late():
    clock = SessionClock()
    clock.hears(0.0)
    for ms in range(0, 3000, 5):
        clock.takes_silence(ms / 1000)
    assert all(clock.hears(3.0 + n * FRAME_S) for n in range(20))
    assert all(clock.hears(4.7) for _ in range(4))


def test_frames_sent_at_once_are_allowed_at_real_time_only():
    pace = PaceLimiter()
    allowed = sum(pace.allows(ms / 1000) for ms in range(10_000))
    assert allowed == pytest.approx(10 / FRAME_S + AHEAD_S / FRAME_S, abs=2)


@pytest.mark.parametrize("drift", [0.001, 0.01])
def test_fast_sound_card_loses_only_its_drift(drift: float):
    pace, frames = PaceLimiter(), 50_000
    skipped = [not pace.allows(n * FRAME_S / (1 + drift)) for n in range(frames)]
    surplus = frames - frames / (1 + drift)
    assert sum(skipped) == pytest.approx(surplus, abs=AHEAD_S / FRAME_S + 2)
    assert not any(one and other for one, other in pairwise(skipped)), (
        "two skipped frames in a row are audible as a gap"
    )


def test_stalls_and_jitter_lose_no_frame():
    """The network holds every frame back for up to 0.3 s, then delivers all of them at once."""
    pace = PaceLimiter()
    stall_s = 0.3
    arrivals = [stall_s * (1 + n * FRAME_S // stall_s) for n in range(1000)]
    assert all(pace.allows(at) for at in arrivals)
    jitter_s = [0.0, 0.03, -0.03, 0.05, -0.05, 0.02]
    assert all(pace.allows(100 + n * FRAME_S + jitter_s[n % 6]) for n in range(1000))
