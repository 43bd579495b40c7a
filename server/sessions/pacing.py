"""How fast one session's time may run, and when silence stands in for its microphone.

The model hears one frame per 80 ms of a session, neither fewer nor more. While a live microphone sends nothing (muted,
tab suspended, network stalled) silence is stepped in its place; what then arrives in a burst is late, as silence was
heard in its place. Pure, so that minutes of talk are tested in milliseconds.
"""

from __future__ import annotations

import math

from server.audio.framing import FRAME_S

SILENCE_AFTER_S = 0.4  # longer than a network's usual stall, far shorter than a speaker's pause
_JITTER_S = FRAME_S  # a frame may come this early without being taken for a late one
AHEAD_S = 4 * FRAME_S  # how far frames may run ahead of real time: a usual stall ends in as many at once
_BURST_S = 1.0  # after this long at the usual pace, nothing late is still on its way


class PaceLimiter:
    """Lets no client send faster than real time: a leaky bucket, filled by frames and emptied by time.

    A sound card that runs 1 % fast loses one frame in a hundred; a burst after a stall loses none.
    """

    def __init__(self) -> None:
        self._heard_until = float("-inf")  # when everything that was allowed has been spoken

    def allows(self, now: float) -> bool:
        """A frame came. False: it is too far ahead of real time, and does not count."""
        heard_until = max(self._heard_until, now)
        if heard_until - now > AHEAD_S:
            return False
        self._heard_until = heard_until + FRAME_S
        return True


class SessionClock:
    """One session's time. Begins with the first frame."""

    def __init__(self) -> None:
        self.silence_due_at = math.inf  # inf: no audio came yet
        self._owed = 0  # frames of silence for which late audio may still come
        self._resumed_at = 0.0
        self._since_resumed = 0  # frames heard

    def restarted(self, now: float) -> SessionClock:
        """A clock whose time goes on from `now`, if it had begun, and to which nothing is owed."""
        clock = SessionClock()
        if self.silence_due_at < math.inf:
            clock.silence_due_at = now + SILENCE_AFTER_S
        return clock

    def hears(self, now: float) -> bool:
        """A frame came. False: it is late, as silence was stepped in its place."""
        was_silent = self._owed and self._since_resumed == 0
        self.silence_due_at = now + SILENCE_AFTER_S
        if not self._owed:
            return True
        if was_silent:
            self._resumed_at = now
        if now - self._resumed_at > _BURST_S:
            self._owed = 0
        elif now < self._resumed_at + self._since_resumed * FRAME_S - _JITTER_S:
            self._owed -= 1
            return False
        self._since_resumed += 1
        return True

    def takes_silence(self, now: float) -> bool:
        """True when a frame of silence is due at `now`; it counts as stepped."""
        if now < self.silence_due_at:
            return False
        # After a stall of the engine itself there is nothing to catch up with.
        self.silence_due_at = max(self.silence_due_at + FRAME_S, now)
        self._owed += 1
        self._since_resumed = 0
        return True
