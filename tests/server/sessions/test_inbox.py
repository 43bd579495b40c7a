from __future__ import annotations

import math

import numpy as np
import pytest

from server.audio.framing import FRAME_S
from server.sessions.inbox import INBOX_FRAMES, Inbox, Skips
from server.sessions.pacing import AHEAD_S, SILENCE_AFTER_S
from tests.server.chat_client import speech


def test_frames_are_taken_once_and_in_order():
    inbox, frames = Inbox(), speech(3)
    for frame in frames:
        assert inbox.offer(frame, 0.0) == Skips()
    taken = [inbox.take(0.0) for _ in range(4)]
    assert taken[3] is None
    assert all(frame and np.array_equal(frame.pcm, sent) for frame, sent in zip(taken, frames, strict=False))


def test_full_inbox_skips_its_oldest_frames():
    inbox, frames = Inbox(), speech(INBOX_FRAMES + 6)
    results = [inbox.offer(frame, 0.0) for frame in frames]
    assert results == [Skips()] * INBOX_FRAMES + [Skips(skipped=1)] * 6
    frame = inbox.take(0.0)
    assert frame and np.array_equal(frame.pcm, frames[6])


def test_silence_is_given_when_it_is_due_and_not_before():
    inbox = Inbox()
    inbox.offer(speech(1)[0], 0.0)
    inbox.take(0.0)
    assert inbox.due_at == SILENCE_AFTER_S
    assert inbox.take(SILENCE_AFTER_S - 0.01) is None
    frame = inbox.take(SILENCE_AFTER_S)
    assert frame and frame.is_silence and not frame.pcm.any()


def test_inbox_gives_at_most_max_frames():
    inbox = Inbox(max_frames=2)
    for frame in speech(3):
        inbox.offer(frame, 0.0)
    assert inbox.take(0.0) and inbox.take(0.0)
    assert inbox.take(0.0) is None and inbox.take(100.0) is None
    assert inbox.due_at == math.inf


def test_paused_inbox_gives_nothing_and_its_time_stands_still():
    inbox = Inbox()
    for frame in speech(3):
        inbox.offer(frame, 0.0)
    assert inbox.take(0.0)
    assert inbox.pause() == 2, "the frames that were not taken"
    assert inbox.take(0.0) is None and inbox.take(60.0) is None and inbox.due_at == math.inf
    inbox.resume(60.0)
    assert inbox.due_at == 60.0 + SILENCE_AFTER_S, "a muted microphone is filled with silence again"
    assert inbox.take(60.1) is None
    frame = speech(1)[0]
    assert inbox.offer(frame, 60.1) == Skips(), "not late: no silence replaced it"
    taken = inbox.take(60.1)
    assert taken and np.array_equal(taken.pcm, frame)


def test_inbox_paused_before_the_first_frame_gives_no_silence_after_it_resumes():
    inbox = Inbox()
    inbox.pause()
    inbox.resume(60.0)
    assert inbox.due_at == math.inf and inbox.take(100.0) is None


def test_pause_does_not_use_up_max_frames():
    inbox = Inbox(max_frames=2)
    inbox.offer(speech(1)[0], 0.0)
    assert inbox.take(0.0)
    inbox.pause()
    inbox.resume(1.0)
    for frame in speech(2):
        inbox.offer(frame, 1.0)
    assert inbox.take(1.0) and inbox.take(1.0) is None


def test_frames_faster_than_real_time_are_skipped_although_every_frame_is_taken():
    inbox, taken, skipped = Inbox(), 0, 0
    for n in range(10_000):
        skipped += sum(inbox.offer(speech(1)[0], n / 1000))
        taken += inbox.take(n / 1000) is not None
    assert skipped and taken <= (10 + AHEAD_S) / FRAME_S + 2


def test_steps_of_a_burst_count_as_due_one_after_another():
    """A burst that waits for its turn is no slow server."""
    inbox = Inbox()
    for follows in reversed(range(12)):
        inbox.offer(speech(1)[0], 5.0, follows)
    due = []
    while inbox.due_at < 6.3:
        frame = inbox.take(inbox.due_at)
        assert frame
        due.append(frame.offered_at)
    assert np.diff(due) == pytest.approx(np.full(11, FRAME_S))
    assert inbox.delay_s == pytest.approx(0.98, abs=0.05)
