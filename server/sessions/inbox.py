"""The microphone's `Source`: frames on their way to the model, the one thing that both threads touch.

Bounded, and no cause of lag that lasts: frames that arrive at once wait for their turn, and when the smallest number
that waits does not go back to none, so many are skipped, quiet ones first. The session's time goes on as
`SessionClock` says. Knows no session.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from server.audio.framing import FRAME_S, FRAME_SAMPLES, Pcm
from server.sessions.pacing import AT_ONCE_S, SessionClock
from server.sessions.sources import SourceFrame

INBOX_FRAMES = 25  # two seconds: a burst of one, and a stall of one
QUIET_FIRST_S = 0.8  # so long, only quiet frames are skipped
_QUIET = 0.1  # of the loudest frame: -20 dB
_FADE = 0.99  # by which the loudest frame is forgotten, each frame

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)
_SILENCE.flags.writeable = False


class Skips(NamedTuple):
    """How many frames were dropped."""

    late: int = 0  # after silence had been stepped in their place
    skipped: int = 0  # others


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    pcm: Pcm
    arrived_at: float
    spoken_at: float  # when it would have come, had it been sent by itself
    loudness: float  # mean square


class Inbox:
    """At most `INBOX_FRAMES` frames, for at most `max_frames` steps in all."""

    due_at: float  # when the first frame that waits is to be stepped, or silence; inf: nothing before an offer

    def __init__(self, max_frames: int | None = None) -> None:
        self.delay_s = 0.0  # how much later frames are to be stepped than if each were sent by itself
        self._lock = threading.Lock()
        self._frames: deque[_Waiting] = deque()
        self._clock = SessionClock()
        self._to_skip, self._skip_loud_at = 0, 0.0
        self._loudest = 0.0
        self._frames_left = max_frames
        self._is_paused = False
        self._note_due()

    def offer(self, pcm: Pcm, now: float, follows: int = 0) -> Skips:
        """Event loop: hand over one frame f32 [1920]; `follows` more are in the same message."""
        loudness = float(pcm @ pcm) / FRAME_SAMPLES
        with self._lock:
            self._clock.hears(now, len(self._frames), follows)
            self._loudest = max(loudness, self._loudest * _FADE)
            self._frames.append(_Waiting(pcm, now, now - follows * FRAME_S, loudness))
            late = self._skip_lag(now)
            skipped = len(self._frames) > INBOX_FRAMES
            if skipped:
                self._frames.popleft()
            self._note_due()
            return Skips(late.late, late.skipped + skipped)

    def take(self, now: float) -> SourceFrame | None:
        """Engine thread: the next frame to step, silence when it is due, or None."""
        with self._lock:
            if now < self.due_at:
                return None
            if self._frames:
                waiting = self._frames.popleft()
                due_at = self._clock.due_at(waiting.arrived_at)
                if not self._frames or self._frames[0].arrived_at - waiting.arrived_at > AT_ONCE_S:
                    self.delay_s = (
                        due_at - waiting.spoken_at
                    )  # of the last frame of a burst, which was sent as it ended
                self._clock.takes(waiting.arrived_at, now)
                frame = SourceFrame(waiting.pcm, due_at)
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
            self._to_skip = 0
            self._is_paused = False
            self._note_due()

    def _skip_lag(self, now: float) -> Skips:
        """Drop frames by which the audio has fallen behind: the quiet ones now, the others if it takes too long."""
        if not self._to_skip:
            self._to_skip = self._clock.lag_frames(now)
            self._skip_loud_at = now + QUIET_FIRST_S
            if not self._to_skip:
                return Skips()
        if len(self._frames) == 1:  # it has caught up by itself
            self._to_skip = 0
            return Skips()
        by_loudness = sorted(self._frames, key=lambda frame: frame.loudness)
        if now < self._skip_loud_at and len(self._frames) < 2 * self._to_skip:
            by_loudness = [frame for frame in by_loudness if frame.loudness <= _QUIET**2 * self._loudest]
        dropped = by_loudness[: self._to_skip]
        for frame in dropped:
            self._frames.remove(frame)
        self._to_skip -= len(dropped)
        late = self._clock.skips(len(dropped))
        return Skips(late, len(dropped) - late)

    def _note_due(self) -> None:
        if self._frames_left == 0 or self._is_paused:
            self.due_at = math.inf
        elif self._frames:
            self.due_at = self._clock.due_at(self._frames[0].arrived_at)
        else:
            self.due_at = self._clock.silence_due_at
