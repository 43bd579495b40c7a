from __future__ import annotations

import math

import numpy as np

from server.audio.framing import FRAME_S
from server.sessions.inbox import INBOX_FRAMES, Inbox, OfferResult
from server.sessions.pacing import SILENCE_AFTER_S
from tests.server.chat_client import speech


def test_frames_come_out_in_order_and_once():
    inbox, frames = Inbox(), speech(3)
    for frame in frames:
        assert inbox.offer(frame, 0.0) is OfferResult.TAKEN
    taken = [inbox.take(0.0) for _ in range(4)]
    assert taken[3] is None
    assert all(frame and np.array_equal(frame.pcm, said) for frame, said in zip(taken, frames, strict=False))


def test_what_piles_up_is_skipped_to_live():
    inbox, frames = Inbox(), speech(10)
    fates = [inbox.offer(frame, 0.0) for frame in frames]
    assert fates == [OfferResult.TAKEN] * INBOX_FRAMES + [OfferResult.SKIPPED] * (10 - INBOX_FRAMES)
    newest = frames[-INBOX_FRAMES:]
    for said in newest:
        frame = inbox.take(0.0)
        assert frame and np.array_equal(frame.pcm, said)
    assert inbox.take(0.0) is None


def test_silence_stands_in_when_it_is_due_and_not_before():
    inbox = Inbox()
    inbox.offer(speech(1)[0], 0.0)
    inbox.take(0.0)
    assert inbox.due_at == SILENCE_AFTER_S
    assert inbox.take(SILENCE_AFTER_S - 0.01) is None
    frame = inbox.take(SILENCE_AFTER_S)
    assert frame and frame.is_silence and not frame.pcm.any()


def test_late_frames_are_thrown_away():
    inbox = Inbox()
    inbox.offer(speech(1)[0], 0.0)
    for n in range(30):
        inbox.take(SILENCE_AFTER_S + n * FRAME_S)
    fates = {inbox.offer(frame, 3.0) for frame in speech(20)}
    assert OfferResult.LATE in fates


def test_no_more_frames_are_taken_than_the_call_may_last():
    inbox = Inbox(max_frames=2)
    for frame in speech(3):
        inbox.offer(frame, 0.0)
    assert inbox.take(0.0) and inbox.take(0.0)
    assert inbox.take(0.0) is None and inbox.take(100.0) is None
    assert inbox.due_at == math.inf


def test_nothing_is_given_while_it_stands_still_and_no_time_passes():
    inbox = Inbox()
    for frame in speech(3):
        inbox.offer(frame, 0.0)
    assert inbox.take(0.0)
    assert inbox.pause() == 2, "what had not been taken"
    assert inbox.take(0.0) is None and inbox.take(60.0) is None and inbox.due_at == math.inf
    inbox.resume(60.0)
    assert inbox.due_at == 60.0 + SILENCE_AFTER_S, "a microphone that stays mute is silence again"
    assert inbox.take(60.1) is None
    frame = speech(1)[0]
    assert inbox.offer(frame, 60.1) is OfferResult.TAKEN, "not late: no silence was heard in its place"
    taken = inbox.take(60.1)
    assert taken and np.array_equal(taken.pcm, frame)


def test_who_had_not_spoken_has_still_not_begun():
    inbox = Inbox()
    inbox.pause()
    inbox.resume(60.0)
    assert inbox.due_at == math.inf and inbox.take(100.0) is None


def test_a_standstill_leaves_the_frames_that_are_left():
    inbox = Inbox(max_frames=2)
    inbox.offer(speech(1)[0], 0.0)
    assert inbox.take(0.0)
    inbox.pause()
    inbox.resume(1.0)
    for frame in speech(2):
        inbox.offer(frame, 1.0)
    assert inbox.take(1.0) and inbox.take(1.0) is None


def test_who_sends_faster_than_time_passes_is_skipped_though_the_engine_takes_all():
    inbox = Inbox()
    fates = []
    for n in range(1000):
        fates.append(inbox.offer(speech(1)[0], n / 1000))
        inbox.take(n / 1000)
    assert set(fates) == {OfferResult.TAKEN, OfferResult.SKIPPED}
    assert fates.count(OfferResult.TAKEN) <= 1 / FRAME_S + INBOX_FRAMES + 2


def test_of_a_burst_the_newest_are_kept():
    inbox = Inbox()
    said = speech(12)
    fates = [inbox.offer(frame, 0.0) for frame in said]
    assert fates.count(OfferResult.SKIPPED) == len(said) - INBOX_FRAMES
    for frame in said[-INBOX_FRAMES:]:
        taken = inbox.take(0.0)
        assert taken and np.array_equal(taken.pcm, frame)
