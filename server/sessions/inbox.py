"""A caller's voice on its way to the model: the one thing that the event loop and the engine thread both touch.

Bounded, and never a source of lag: what comes too late or piles up is skipped, and the caller's time goes on as
`SessionClock` says. Knows no session.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from server.audio.framing import FRAME_SAMPLES, Pcm
from server.sessions.pacing import PaceLimiter, SessionClock

INBOX_FRAMES = 4  # more than this the engine is behind by, and the oldest is skipped to live

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)
_SILENCE.flags.writeable = False


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """80 ms of a caller, to be stepped."""

    pcm: Pcm  # [FRAME_SAMPLES]
    offered_at: float
    is_silence: bool = False  # stands in for a microphone that stands still


class OfferResult(Enum):
    """What became of a frame that was offered."""

    TAKEN = "taken"
    SKIPPED = "skipped"  # the oldest that waited was thrown away, or this one if none did
    LATE = "late"  # it was thrown away: silence was heard in its place


class Inbox:
    """At most `INBOX_FRAMES` frames, for at most `max_frames` steps in all."""

    # When `take` has something to give: since ever while frames wait, else when silence is due; inf: nothing before an
    # offer. Either side may read it without the lock, so that an engine of many callers need not ask each of them.
    due_at: float

    def __init__(self, max_frames: int | None = None) -> None:
        self._lock = threading.Lock()
        self._frames: deque[SourceFrame] = deque()
        self._clock = SessionClock()
        self._pace = PaceLimiter()
        self._frames_left = max_frames
        self._is_paused = False
        self._note_due()

    def offer(self, pcm: Pcm, now: float) -> OfferResult:
        """Event loop: hand over one frame f32 [1920]."""
        with self._lock:
            if not self._clock.hears(now):
                self._note_due()
                return OfferResult.LATE
            self._frames.append(SourceFrame(pcm, now))
            is_taken = self._pace.allows(now) and len(self._frames) <= INBOX_FRAMES
            if not is_taken:
                self._frames.popleft()
            self._note_due()
            return OfferResult.TAKEN if is_taken else OfferResult.SKIPPED

    def take(self, now: float) -> SourceFrame | None:
        """Engine thread: the next frame to step, silence when it is due, or None."""
        with self._lock:
            if now < self.due_at:
                return None
            if self._frames:
                frame = self._frames.popleft()
            else:
                self._clock.takes_silence(now)
                frame = SourceFrame(_SILENCE, now, is_silence=True)
            if self._frames_left is not None:
                self._frames_left -= 1
            self._note_due()
            return frame

    def pause(self) -> int:
        """Event loop: give nothing more, no silence either; how many frames were thrown away."""
        with self._lock:
            self._is_paused = True
            thrown_away = len(self._frames)
            self._frames.clear()
            self._note_due()
            return thrown_away

    def resume(self, now: float) -> None:
        """Event loop: the caller's time goes on after a standstill of any length. No frame of before is late."""
        with self._lock:
            self._clock = self._clock.restarted(now)
            self._pace = PaceLimiter()
            self._is_paused = False
            self._note_due()

    def _note_due(self) -> None:
        if self._frames_left == 0 or self._is_paused:
            self.due_at = math.inf
        else:
            self.due_at = -math.inf if self._frames else self._clock.silence_due_at
