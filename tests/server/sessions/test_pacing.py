"""Every manner of sending is heard on time: evenly, in bursts, over networks that stall, and with pauses."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from server.audio.framing import FRAME_S
from server.sessions.inbox import INBOX_FRAMES
from server.sessions.pacing import AHEAD_S, SILENCE_AFTER_S, Bursts, LagWindow, SessionClock
from tests.server.sessions.senders import Arrival, Heard, chunks, held_back, listen

EVEN, BURSTS = [0.02, 0.04, 0.08], [0.16, 0.2, 0.3, 0.4, 0.5, 0.64, 0.75, 1.0]


# ── The clock


def test_session_clock_gives_no_silence_before_the_first_frame():
    clock = SessionClock()
    assert clock.silence_due_at == math.inf
    assert not clock.takes_silence(1e6)


def last_audio_at(now: float) -> SessionClock:
    clock = SessionClock()
    clock.hears(now, 0)
    clock.takes(now, now)
    return clock


def test_silence_is_given_every_80_ms_while_no_frame_arrives():
    clock = last_audio_at(0.0)
    taken_at = [ms / 1000 for ms in range(0, 10_000, 10) if clock.takes_silence(ms / 1000)]
    assert taken_at[0] == pytest.approx(SILENCE_AFTER_S)
    assert len(taken_at) == pytest.approx(10 / FRAME_S, abs=2), "the time that was waited for a frame is made up for"
    gaps = [later - earlier for earlier, later in pairwise(taken_at)]
    assert min(gaps) > FRAME_S / 2 - 0.011 and max(gaps) < FRAME_S + 0.011


def test_silence_after_an_engine_stall_is_a_single_frame():
    clock = last_audio_at(0.0)
    assert clock.takes_silence(60.0)
    assert [clock.takes_silence(60.0 + ms / 1000) for ms in range(0, 79, 10)].count(True) <= 1


@pytest.mark.parametrize("is_resumed", [False, True])
def test_silence_keeps_the_clocks_time_after_a_stall_of_the_engine_and_after_a_resume(is_resumed: bool):
    clock = last_audio_at(0.0).restarted(60.0) if is_resumed else last_audio_at(0.0)
    taken = sum(clock.takes_silence(60.0 + ms / 1000) for ms in range(0, 30_000, 5))
    assert taken == pytest.approx(30 / FRAME_S, abs=7)


def test_one_burst_among_many_small_ones_does_not_count():
    bursts = Bursts()
    for second in range(5):
        bursts.add(float(second), follows=11 if second == 3 else 0)
    assert bursts.frames == 1


def test_first_message_is_the_first_estimate_of_the_bursts():
    bursts = Bursts()
    bursts.add(0.0, follows=5)
    assert bursts.frames == 6


def test_lag_window_is_bounded():
    window = LagWindow()
    for n in range(100_000):
        window.add(n / 1000, 0.1)
    assert len(window._slots) <= 8 and window.lag_s(100.0) == 0.1


# ── Clients that send evenly


@pytest.mark.parametrize("chunk_s", EVEN)
def test_frame_that_is_sent_by_itself_is_stepped_as_it_comes(chunk_s: float):
    stepped = listen(chunks(60, chunk_s), until=60.05)
    assert stepped.numbers == list(range(750)) and max(stepped.delays_s) < 0.01


def test_jitter_delays_no_frame_and_loses_none():
    jitter_s = [0.0, 0.03, -0.03, 0.05, -0.05, 0.02]
    messages = [(0.1 + n * FRAME_S + jitter_s[n % 6], 1) for n in range(1000)]
    stepped = listen(messages, until=80.0)
    assert stepped.numbers == list(range(len(stepped.numbers))) and max(stepped.delays_s) < 0.01


@pytest.mark.parametrize("drift", [0.001, 0.01])
def test_fast_sound_card_loses_only_its_drift(drift: float):
    messages: list[Arrival] = [(0.1 + n * FRAME_S / (1 + drift), 1) for n in range(4_000)]
    stepped = listen(messages)
    surplus = 4_000 - 4_000 / (1 + drift)
    assert sum(frames for _, frames in stepped.dropped) == pytest.approx(surplus, abs=AHEAD_S / FRAME_S + 2)
    gaps = [later - earlier - 1 for earlier, later in pairwise(stepped.heard)]
    assert max(gaps) <= 1, "two skipped frames in a row are audible as a gap"
    assert max(stepped.delays_s) < FRAME_S


# ── Networks that stall


@pytest.mark.parametrize("chunk_s", [*EVEN, 0.5, 1.0])
@pytest.mark.parametrize("stall_s", [0.2, 0.3, 0.4])
@pytest.mark.parametrize("start", [9.95, 10.02, 10.6])
def test_stall_of_up_to_400_ms_loses_nothing(chunk_s: float, stall_s: float, start: float):
    sent = held_back(chunks(20, chunk_s), start, stall_s)
    assert listen(sent).heard == list(range(250))


@pytest.mark.parametrize("chunk_s", [0.02, 0.08])
@pytest.mark.parametrize("is_pausing", [False, True])
def test_bad_wifi_loses_nothing(chunk_s: float, is_pausing: bool):
    """Jitter of 15 ms on average, nothing overtakes, and a stall of up to 0.3 s every few seconds."""
    generator, sent, arrived_at, stalled_until = random.Random(4), [], 0.0, 0.0
    for at, frames in [*chunks(10, chunk_s), *chunks(50, chunk_s, start=12.0 if is_pausing else 10.0)]:
        if generator.random() < chunk_s / 5:
            stalled_until = at + generator.uniform(0.1, 0.3)
        arrived_at = max(arrived_at, stalled_until, at + generator.expovariate(1 / 0.015))
        sent.append((arrived_at, frames))
    stepped = listen(sent)
    assert stepped.heard == list(range(750))


def test_stalls_one_after_another_lose_nothing():
    sent = chunks(30, 0.02)
    for start in range(2, 30, 2):
        sent = held_back(sent, start, 0.3)
    assert listen(sent).heard == list(range(375))


@pytest.mark.parametrize("chunk_s", [*EVEN, 0.4, 0.5, 1.0])
@pytest.mark.parametrize("start", [9.95, 10.2, 10.6])
def test_lag_of_a_stall_of_a_second_is_gone_after_three(chunk_s: float, start: float):
    before = listen(chunks(24, chunk_s))
    stepped = listen(held_back(chunks(24, chunk_s), start, 1.0))
    settled = start + 1.0 + 3.0
    assert stepped.delays_s[-1] <= before.delays_s[-1] + 0.13
    assert all(at <= settled for at, _ in stepped.dropped)
    assert stepped.longest_hole_s(settled) < SILENCE_AFTER_S + 0.01
    frames = len([at for at in stepped.at if at < 24])
    assert frames == pytest.approx(len([at for at in before.at if at < 24]), abs=2), "the model keeps the clock's time"


def test_quiet_frames_are_skipped_first():
    loudness = [0.5 if n // 2 % 2 else 0.001 for n in range(300)]
    stepped = listen(held_back(chunks(24, 0.08), 10.0, 1.0), loudness)
    skipped = sorted({*range(300)} - {*stepped.heard})
    assert len(skipped) >= 5 and all(loudness[number] < 0.1 for number in skipped)


# ── Clients that send bursts


@pytest.mark.parametrize("chunk_s", BURSTS)
def test_bursts_of_up_to_a_second_are_heard_whole_and_evenly(chunk_s: float):
    sent = chunks(60, chunk_s)
    stepped = listen(sent)
    assert stepped.heard == list(range(sum(frames for _, frames in sent))) and not stepped.dropped
    assert None not in stepped.numbers[: len(stepped.heard)], "no silence before the end"
    steady = [at for at in stepped.at if 5 < at < 59]
    gaps = [later - earlier for earlier, later in pairwise(steady)]
    assert max(gaps) < FRAME_S + 0.005 and min(gaps) > FRAME_S - 0.005
    assert stepped.waiting_most < INBOX_FRAMES


@pytest.mark.parametrize("chunk_s", BURSTS)
def test_delay_of_bursts_is_told(chunk_s: float):
    told = listen(chunks(60, chunk_s)).delays_s[50:]
    assert chunk_s - FRAME_S <= min(told) and max(told) <= chunk_s + 0.15


@pytest.mark.parametrize("chunk_s", [0.4, 0.5, 1.0])
def test_bursts_of_many_messages_are_heard_whole(chunk_s: float):
    sent = [(at, 1) for at, frames in chunks(60, chunk_s) for _ in range(frames)]
    assert listen(sent).heard == list(range(750))


@pytest.mark.parametrize("chunk_s", [0.5, 1.0])
def test_bursts_with_jitter_are_heard_whole(chunk_s: float):
    jitter_s = [0.0, 0.09, 0.03, 0.12, 0.06]
    sent = [(at + jitter_s[n % 5], frames) for n, (at, frames) in enumerate(chunks(60, chunk_s))]
    assert listen(sent).heard == list(range(750))


def test_longer_bursts_and_floods_are_bounded():
    assert listen(chunks(60, 4.0)).waiting_most <= INBOX_FRAMES + 1
    flood = listen([(n / 1000, 1) for n in range(10_000)])
    assert flood.waiting_most <= INBOX_FRAMES + 1
    assert len(flood.heard) == pytest.approx(10 / FRAME_S + INBOX_FRAMES, abs=8)


# ── Clients that pause


def pausing(speech_s: float, pause_s: float, chunk_s: float) -> list[Arrival]:
    """24 s of speech and pauses."""
    starts = [n * (speech_s + pause_s) for n in range(30)]
    return [message for start in starts for message in chunks(speech_s, chunk_s, start) if message[0] <= 24.0]


def clock_frames(stepped: Heard) -> float:
    return (24.0 - stepped.at[0]) / FRAME_S


@pytest.mark.parametrize("chunk_s", [*EVEN, 0.5])
@pytest.mark.parametrize(("speech_s", "pause_s"), [(2.0, 1.0), (1.5, 0.5), (1.0, 2.0), (3.0, 0.35), (3.0, 0.7)])
def test_pauses_cost_the_model_no_time(speech_s: float, pause_s: float, chunk_s: float):
    sent = pausing(speech_s, pause_s, chunk_s)
    stepped = listen(sent, until=24.0)
    least = 0.98 if chunk_s <= FRAME_S else 0.94  # a burst after a pause begins where it comes
    assert least * clock_frames(stepped) <= len(stepped.at) <= clock_frames(stepped) + AHEAD_S / FRAME_S
    assert stepped.longest_hole_s(since=speech_s + pause_s + 0.2) <= 0.15
    assert not stepped.dropped


def test_stall_after_pauses_makes_the_server_wait_again():
    sent = pausing(1.0, 1.0, 0.08)
    steady = chunks(20, 0.08, start=24.0)
    stalls = held_back(held_back(steady, 30.0, 0.3), 36.0, 0.3)
    stepped = listen([*sent, *stalls], until=43.9)
    silence_at = [at for at, number in zip(stepped.at, stepped.numbers, strict=True) if number is None and at > 25]
    assert silence_at and all(30 < at < 30.4 for at in silence_at), "only the first stall is filled with silence"
    assert not stepped.dropped, "and neither loses a frame"


def test_muted_client_is_heard_at_once_when_it_speaks_again():
    stepped = listen([*chunks(5, 0.02), *chunks(5, 0.02, start=35.0)])
    assert stepped.heard == list(range(124)) and max(stepped.delays_s) < 0.02
