"""When a microphone's frames are stepped, when silence stands in for them, and how far they have fallen behind.

The model hears one frame per 80 ms of a session, neither fewer nor more. What arrives at 80 ms or less at a time is
stepped as it comes; what arrives in bursts is spread out evenly, so that every burst is heard whole at one constant
delay. Pure, so that minutes of talk are tested in milliseconds.
"""

from __future__ import annotations

import math
from collections import deque

from server.audio.framing import FRAME_S

SILENCE_AFTER_S = 0.4  # longer than a network's usual stall, far shorter than a speaker's pause
AHEAD_S = 5 * FRAME_S  # how far frames may run ahead of real time: a usual stall ends in as many at once
MAX_BURST_S = 1.0  # of audio that is sent at once, and heard whole

_PAUSE_WAIT_S = 0.1  # instead of SILENCE_AFTER_S, for a client that is known to pause
_JITTER_WAIT_S = 0.14  # for one whose frame came a little after that
_BURST_MARGIN_S = 0.1  # a burst may come this late; more than a frame, as bursts need not be whole frames
_MAX_MOVE_S = 6 * FRAME_S  # by which a late burst delays those after it: a stall without silence, and a frame
_RESUMED_MARGIN_S = 0.065  # the same for the second burst after a pause
BURST_LAG_S = 0.24  # bursts that always wait longer than this have fallen behind
_MIN_LAG_S = FRAME_S / 2  # the same for other frames
_LAG_WINDOW_S, _LAG_SLOT_S = 1.5, 0.25  # longer than a burst, so that a burst is not taken for lag
AT_ONCE_S = 0.04  # frames that arrive within this time are one burst
_NETWORK_BURST = 3  # frames: so many arrive together by chance, and time and again, where the network is bad
_GAP_S = 0.25  # without a frame, from which something is learned about the client
_BACKLOG_WITHIN_S = 0.15  # after a gap, a backlog has arrived
_CATCH_UP_S = FRAME_S / 2  # how much later or earlier than usual a frame of silence is, to make up for time
_SURE_PAUSE_S = 1.1  # without a frame: no stall, so the time that was waited for one is made up for


class Bursts:
    """How many frames a client sends at once. The first message tells it until more have come."""

    def __init__(self) -> None:
        self._first_message = 1  # frames
        self._sizes: deque[int] = deque(maxlen=6)  # of the last bursts, in frames; the last one may still grow
        self._began_at = -math.inf
        self._arrived = 0  # frames of the last burst

    def add(self, now: float, follows: int) -> None:
        """A frame came; `follows` more are in the same message."""
        if not self._sizes:
            self._first_message = 1 + follows
        if now - self._began_at > AT_ONCE_S:
            self._began_at, self._arrived = now, 0
            self._sizes.append(0)
        self._arrived += 1
        self._sizes[-1] = max(self._sizes[-1], self._arrived + follows)

    @property
    def is_new(self) -> bool:
        """The last frame was the first of a burst."""
        return self._arrived == 1

    @property
    def frames(self) -> int:
        """The smallest of the last bursts, so that one stall changes nothing. 1: the client sends evenly."""
        earlier = [*self._sizes][:-1]
        if self._first_message > 1:
            return min(earlier) if len(earlier) > 1 else self._first_message
        smallest = min(earlier) if len(earlier) > 3 else 1
        return smallest if smallest > _NETWORK_BURST else 1


class LagWindow:
    """The smallest wait that a frame had before it just after it came, over the last second and a half."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._slots: deque[tuple[float, float]] = deque()  # when each began, and the smallest wait in it

    def add(self, now: float, wait_s: float) -> None:
        """A frame came that would be stepped after `wait_s`."""
        if self._since is None:
            self._since = now
        if self._slots and now - self._slots[-1][0] < _LAG_SLOT_S:
            began_at, smallest_s = self._slots[-1]
            self._slots[-1] = began_at, min(smallest_s, wait_s)
        else:
            self._slots.append((now, wait_s))
        while self._slots[0][0] <= now - _LAG_WINDOW_S:
            self._slots.popleft()

    def lag_s(self, now: float) -> float:
        """The smallest wait; 0 until the window is full."""
        if self._since is None or now - self._since < _LAG_WINDOW_S:
            return 0.0
        return min(wait_s for _, wait_s in self._slots)

    def clear(self) -> None:
        """Begin anew: what was measured holds no longer."""
        self._since = None
        self._slots.clear()


class SilenceWait:
    """How long a frame is waited for before silence stands in for it; learned from how the client's gaps end.

    A gap after which all that was missing arrives was a stall of the network, and the next one may be, too: wait
    long, and lose nothing. A gap after which nothing is made up for was a pause: the next one costs little.
    """

    def __init__(self) -> None:
        self._learned_s: float | None = None
        self._gap: tuple[float, float] | None = None  # its beginning and end, until it is known what it was
        self._arrived = 0  # frames since its end

    @property
    def seconds(self) -> float:
        if self._learned_s is None:
            return SILENCE_AFTER_S
        return min(SILENCE_AFTER_S, max(self._learned_s, SILENCE_AFTER_S / 4))

    def hears(self, now: float, last_frame_at: float, was_empty: bool, was_silent: bool) -> bool:
        """A frame came, after the one that was stepped at `last_frame_at`. True: the gap before was a pause."""
        was_pause = False
        if self._gap and now - self._gap[1] > _BACKLOG_WITHIN_S:
            gap_s = self._gap[1] - self._gap[0]
            missing_s = now - self._gap[0] - (self._arrived + 1) * FRAME_S
            was_pause = missing_s > max(1.5 * FRAME_S, gap_s / 2)
            self._learn(was_pause, gap_s)
            self._gap = None
        if was_silent or (was_empty and now - last_frame_at > _GAP_S):
            self._gap, self._arrived = (last_frame_at, now), 0
        self._arrived += 1
        return was_pause

    def _learn(self, was_pause: bool, gap_s: float) -> None:
        if was_pause:
            self._learned_s = _PAUSE_WAIT_S
        elif gap_s < _GAP_S and self._learned_s == _PAUSE_WAIT_S:
            self._learned_s = _JITTER_WAIT_S  # once, this may be chance
        else:
            self._learned_s = None


class SessionClock:
    """One session's time: when its next frame may be stepped, or silence. Begins with the first frame.

    A leaky bucket, filled by what is stepped and emptied by time. It has room for `AHEAD_S`, which frames use that
    come early or after a stall. For a client that sends bursts it begins full: its frames are stepped evenly.
    """

    def __init__(self) -> None:
        self.silence_due_at = math.inf  # inf: no frame came yet
        self.bursts = Bursts()
        self._wait = SilenceWait()
        self._lag = LagWindow()
        self._full_until = -math.inf  # when everything that was stepped has been spoken
        self._is_even = False  # frames are spread out
        self._moved_s = 0.0  # by which the last burst came late, and all since is delayed
        self._last_frame_at = -math.inf
        self._was_silent = False  # silence was stepped last
        self._behind_s = 0.0  # which was waited before silence was stepped
        self._owed = 0  # frames of silence for which late audio may still come

    def restarted(self, now: float) -> SessionClock:
        """A clock whose time goes on from `now`, if it had begun, and to which nothing is owed."""
        clock = SessionClock()
        clock._wait = self._wait
        if self.silence_due_at < math.inf:
            clock._last_frame_at = clock._full_until = now
            clock.silence_due_at = now + self._wait.seconds
        return clock

    def hears(self, now: float, waiting: int, follows: int = 0) -> None:
        """A frame came behind `waiting` others; `follows` more are in the same message."""
        self.bursts.add(now, follows)
        was_empty = not waiting and self._last_frame_at > -math.inf
        if self._wait.hears(now, self._last_frame_at, was_empty, was_empty and self._was_silent):
            self._owed = 0
        if self.bursts.frames == 1:
            self._is_even = False
        elif not self._is_even and not waiting:
            self._spread(now)
        wait_s = self._full_until + waiting * FRAME_S - AHEAD_S - now
        if self._moved_s and self.bursts.is_new:
            if wait_s > BURST_LAG_S:  # the one before was late alone: a stall, which is caught up with
                made_up_s = min(self._moved_s, wait_s - _BURST_MARGIN_S)
                self._full_until -= made_up_s
                wait_s -= made_up_s
            self._moved_s = 0.0
        self._lag.add(now, max(0.0, wait_s))

    def _spread(self, now: float) -> None:
        self._is_even, self._moved_s = True, 0.0
        self._full_until = max(self._full_until, now + min(AHEAD_S, 5 * FRAME_S) + _BURST_MARGIN_S)

    def due_at(self, arrived_at: float) -> float:
        """When the first of the frames that wait is to be stepped."""
        return max(arrived_at, self._full_until - AHEAD_S)

    def takes(self, arrived_at: float, now: float) -> None:
        """The first of the frames that wait is stepped."""
        late_s = arrived_at - (self._full_until - AHEAD_S)
        if self._is_even and late_s < _MAX_MOVE_S:
            margin_s = _RESUMED_MARGIN_S if self._was_silent else 0.0
            self._full_until += max(0.0, late_s + margin_s)
            self._moved_s = max(self._moved_s, late_s)
        self._full_until = max(self._full_until, now) + FRAME_S
        self._last_frame_at = now
        self._was_silent = False
        self.silence_due_at = now + self._wait.seconds

    def takes_silence(self, now: float) -> bool:
        """True when a frame of silence is due at `now`; it counts as stepped."""
        if now < self.silence_due_at:
            return False
        # After a stall of the engine itself there is nothing to catch up with.
        due_at = self.silence_due_at if now - self.silence_due_at < FRAME_S else now
        ahead_s = self._full_until - (AHEAD_S if self._is_even else 0.0) - due_at
        if not self._was_silent:
            self._behind_s = min(-ahead_s, _MAX_MOVE_S)
        made_up_s = 0.0
        if due_at - self._last_frame_at > _SURE_PAUSE_S:
            made_up_s = min(max(0.0, self._behind_s), _CATCH_UP_S)
            self._behind_s -= made_up_s
        self._full_until = max(self._full_until, due_at) + FRAME_S - made_up_s
        postponed_s = 0.0 if self._is_even else min(max(0.0, ahead_s), _CATCH_UP_S)
        self.silence_due_at = due_at + FRAME_S + postponed_s - made_up_s
        self._was_silent = True
        self._owed += 1
        return True

    def lag_frames(self, now: float) -> int:
        """How many frames the audio has fallen behind, for a second and a half already."""
        lag_s = self._lag.lag_s(now)
        if self._is_even:
            return round((lag_s - _BURST_MARGIN_S) / FRAME_S) if lag_s > BURST_LAG_S else 0
        return max(1, round(lag_s / FRAME_S)) if lag_s > _MIN_LAG_S else 0

    def skips(self, frames: int) -> int:
        """Frames were dropped to make up for lag. Returns how many of them silence had been stepped for."""
        late = min(self._owed, frames)
        self._owed -= late
        self._lag.clear()
        return late
