"""The microphone's `Source`: frames on their way to the model, the one thing that both threads touch.

Bounded, and never a cause of lag: what comes too late or piles up is skipped, and the session's time goes on as
`SessionClock` says. Knows no session.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from enum import Enum

import numpy as np

from server.audio.framing import FRAME_SAMPLES, Pcm
from server.sessions.pacing import PaceLimiter, SessionClock
from server.sessions.sources import SourceFrame

INBOX_FRAMES = 4  # beyond these the engine is behind, and the oldest is skipped to stay live

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)
_SILENCE.flags.writeable = False


class OfferResult(Enum):
    """What became of a frame that was offered."""

    TAKEN = "taken"
    SKIPPED = "skipped"  # the oldest that waited was dropped, or this one if none did
    LATE = "late"  # it was dropped: silence was stepped in its place


class Inbox:
    """At most `INBOX_FRAMES` frames, for at most `max_frames` steps in all."""

    due_at: float  # -inf while frames wait, else when silence is due; inf: nothing before an offer

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
        """Event loop: give nothing more, no silence either. Returns how many frames were dropped."""
        with self._lock:
            self._is_paused = True
            dropped = len(self._frames)
            self._frames.clear()
            self._note_due()
            return dropped

    def resume(self, now: float) -> None:
        """Event loop: the session's time goes on after a pause of any length. No frame from before is late."""
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
