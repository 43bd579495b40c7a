"""One client's session: its states, its source and its outbox.

The source goes from the event loop to the engine thread and is the only thing both touch, under a lock; all else
belongs to the event loop. A session may outlive its connection: it is parked, its time and its model pause, and with
the next connection it goes on. Knows no socket, no Opus and no slot.
"""

from __future__ import annotations

import enum
import math
import secrets
from collections import Counter
from collections.abc import Callable, Hashable

from server.audio.framing import FRAME_S, Pcm
from server.clock import Clock
from server.errors import (
    CallEnded,
    ClientClosed,
    ConnectionLost,
    IdleTimeout,
    LimitReached,
    NoAudioTimeout,
    NotListening,
)
from server.events import LimitNear, Ready, RecordingStopped, ServerEvent, Skipped, Stats, Warned
from server.metrics import Count, RollingWindow
from server.sessions.inbox import Inbox
from server.sessions.outbox import KeepAlive, Outbox, Reply
from server.sessions.pacing import BURST_LAG_S, MAX_BURST_S
from server.sessions.params import SessionParams
from server.sessions.recording import RecordedFrame, Recording
from server.sessions.sources import Source
from server.settings import Settings

BREAK_SHARE = 0.1  # of the time that was talked: what all of a call's breaks may last beyond `resume_s`
OVERTIME_S = 5.0  # and as large a share: how much longer than its frames a call with an operator's limit may take
LIMIT_NOTICE_FRAMES = 125  # 10 s before a session reaches its length limit its client is told
WARN_OF_BURSTS_EVERY_S = 10.0


class SessionState(enum.Enum):
    WAITING = "waiting"  # in the queue, or promised a slot
    RUNNING = "running"
    PARKED = "parked"  # its connection is lost; it is paused in its slot
    DRAINING = "draining"  # over; replies from before are still sent
    CLOSED = "closed"  # holds nothing


_LIMIT_REACHED = "The call has reached its length limit."
_NEXT = {
    SessionState.WAITING: {SessionState.RUNNING, SessionState.CLOSED},
    SessionState.RUNNING: {SessionState.PARKED, SessionState.DRAINING},
    SessionState.PARKED: {SessionState.RUNNING, SessionState.DRAINING},
    SessionState.DRAINING: {SessionState.CLOSED},
    SessionState.CLOSED: set[SessionState](),
}


class Session:
    """One client's session, from the queue to its end. Owner: the event loop."""

    def __init__(
        self,
        params: SessionParams,
        clock: Clock,
        wake_engine: Callable[[], None] = lambda: None,
        max_call_s: float | None = None,
        resume_s: float = 0.0,
        source: Source | None = None,
    ) -> None:
        """`resume_s`: how long it may be parked, and `breaks_left_s` how often; 0: it ends with its connection.

        `source`: None for a microphone.
        """
        self.id = secrets.token_hex(4)
        self.params = params
        self.state = SessionState.WAITING
        self.ended: CallEnded | None = None
        self.counts: Counter[Count] = Counter()
        self.turnaround = RollingWindow()
        self.resume_s = resume_s
        self._clock = clock
        self._wake_engine = wake_engine

        self._max_talk_s = math.inf if max_call_s is None else max_call_s * (1 + BREAK_SHARE) + OVERTIME_S
        max_frames = params.at_most(max_call_s).max_steps
        self.inbox = Inbox(max_frames)
        self.source: Source = source or self.inbox  # what the engine takes frames from
        self._replies_left = max_frames
        self.outbox = Outbox(clock)
        self.recording: Recording | None = None
        self.wire_state: Hashable = None  # of the dialect, which the next connection begins with; opaque here

        self._steps, self._step_s, self._wait_s = 0, 0.0, 0.0  # since the last stats
        self._warned_at = float("-inf")  # of bursts
        self._is_lost = False  # parked, and not because its client closed the connection
        self._missed_frames = 0  # lost with the connection, in either direction
        self._unrecorded_gap_s = 0.0  # for how long it was parked since the last recorded frame
        self._broken_s = 0.0  # for how long it was parked, in all
        # By the clock, in seconds. Those that may be None are moved on by the time for which it was parked.
        self.arrived_at = clock.now()
        self.ready_at: float | None = None
        self.first_audio_at: float | None = None
        self.last_audio_at: float | None = None  # when audio last came
        self.parked_at = self.resumed_at = float("-inf")

    def push_frame(self, pcm: Pcm, follows: int = 0) -> None:
        """Hand a microphone's frame f32 [1920] to the engine; `follows` more are in the same message.

        What is late or too much is skipped, counted and told.
        """
        now = self.last_audio_at = self._clock.now()
        if self.first_audio_at is None:
            self.first_audio_at = now
        skips = self.inbox.offer(pcm, now, follows)
        self._skip(Count.FRAMES_LATE, skips.late)
        self._skip(Count.FRAMES_SKIPPED, skips.skipped)
        if (1 + follows) * FRAME_S > MAX_BURST_S + FRAME_S or self.inbox.delay_s > MAX_BURST_S + BURST_LAG_S:
            self._warn_of_bursts(now)
        self._wake_engine()

    def _skip(self, why: Count, frames: int) -> None:
        if frames:
            self.counts[why] += frames
            self.send_event(Skipped(frames))

    def _warn_of_bursts(self, now: float) -> None:
        if now - self._warned_at >= WARN_OF_BURSTS_EVERY_S:
            self._warned_at = now
            self.send_event(
                Warned(
                    f"Too much audio comes at once: it is heard more than {MAX_BURST_S:g} s late, and some of it may "
                    f"be skipped. Send it as it is spoken, in pieces of 80 ms, or of {MAX_BURST_S:g} s at most."
                )
            )

    # ── What the client is told

    def push_reply(self, reply: Reply) -> None:
        """Queue what a step said. What a client does not read for two seconds is dropped and counted."""
        if self.ended:
            return
        self.counts[Count.FRAMES] += 1
        self.counts[Count.FRAMES_SILENCE] += reply.is_silence
        self._steps += 1
        self._step_s += reply.step_s
        self._wait_s += reply.wait_s
        self._record(reply)
        if self.state is SessionState.PARKED:  # the step was already under way
            self.counts[Count.FRAMES_UNSENT] += 1
            self._missed_frames += 1
        elif not self.outbox.put_reply(reply):
            self._skip(Count.FRAMES_UNSENT, 1)
        if self._replies_left is not None:
            self._count_down(self._replies_left - 1)

    def _record(self, reply: Reply) -> None:
        gap_s, self._unrecorded_gap_s = self._unrecorded_gap_s, 0.0
        if self.recording and not self.recording.add(RecordedFrame(reply.input_pcm, reply.pcm, reply.piece, gap_s)):
            self.recording = None  # it ended before the call
            self.counts[Count.RECORDINGS_CUT] += 1
            self.send_event(RecordingStopped())

    def send_event(self, event: ServerEvent | KeepAlive) -> None:
        """Queue an event for the client; it is dropped while the session is parked, or over."""
        self.outbox.put_event(event)

    def send_stats(self) -> None:
        """Tell how the steps since the last time went, if there were any."""
        if self._steps:
            step_ms, wait_ms = (round(1e3 * total / self._steps, 2) for total in (self._step_s, self._wait_s))
            self.send_event(Stats(step_ms, wait_ms, delay_ms=round(1e3 * self.inbox.delay_s, 1)))
            self._steps, self._step_s, self._wait_s = 0, 0.0, 0.0

    def _count_down(self, left: int) -> None:
        self._replies_left = left
        if left == LIMIT_NOTICE_FRAMES:
            self.send_event(LimitNear(round(LIMIT_NOTICE_FRAMES * FRAME_S)))
        self._end_at_limit()

    def _end_at_limit(self) -> None:
        if self._replies_left == 0 and self.state is not SessionState.PARKED:
            self.end(LimitReached(_LIMIT_REACHED))

    # ── States

    def open(self, token: str | None = None) -> None:
        """The session got its slot: the model hears from here on. `token` is what it can be resumed with."""
        self._move(SessionState.RUNNING)
        self._send_ready(token)

    def on_connection_closed(self, outbox: Outbox, why: CallEnded) -> None:
        """The connection of `outbox` closed: end the session, or park it. A connection it has left changes nothing."""
        if outbox is not self.outbox:
            return
        is_ready = self.ready_at is not None  # and so holds a resume token
        may_return = isinstance(why, ClientClosed) and why.may_return
        if may_return and self.state is SessionState.RUNNING and is_ready and self.break_left_s > 0:
            self.park(why)
        else:
            self.end(why)

    def park(self, why: CallEnded) -> None:
        """Pause without a connection: nothing is stepped or sent until `resume`."""
        self._move(SessionState.PARKED)
        self._is_lost = why.code == ConnectionLost.code
        self.parked_at = self._clock.now()
        untold = self.outbox.unreported_skips
        unsent, dropped = self.outbox.end(why), self.source.pause()
        self.counts.update({Count.FRAMES_UNSENT: unsent, Count.FRAMES_SKIPPED: dropped})
        self.counts[Count.CALLS_LOST] += self._is_lost
        self._missed_frames = untold + unsent + dropped

    def resume(self, token: str) -> None:
        """Go on, with an outbox for the new connection; the client is told what it missed."""
        self._move(SessionState.RUNNING)
        now = self.resumed_at = self._clock.now()
        assert self.ready_at is not None, "only a ready session is parked"
        gap_s = now - (self.ready_at if self.last_audio_at is None else self.last_audio_at)
        parked_s = now - self.parked_at
        self._broken_s += parked_s
        self._unrecorded_gap_s += parked_s
        self.ready_at += parked_s
        if self.last_audio_at is not None and self.first_audio_at is not None:
            self.last_audio_at += parked_s
            self.first_audio_at += parked_s
        self.outbox = Outbox(self._clock)
        self.source.resume(now)
        self.counts[Count.CALLS_LOST] += not self._is_lost  # as it now turns out to have been
        self.counts[Count.CALLS_RESUMED] += 1
        self._send_ready(token, gap_s=round(gap_s, 2))
        if self._missed_frames:
            self.send_event(Skipped(self._missed_frames))
        self._end_at_limit()
        self._wake_engine()

    @property
    def break_left_s(self) -> float:
        """How long its next break may last. All breaks count, and talk between them adds `BREAK_SHARE` of its time."""
        earned_s = BREAK_SHARE * FRAME_S * self.counts[Count.FRAMES]
        return min(self.resume_s, max(0.0, self.resume_s + earned_s - self._broken_s))

    def expiry(self, now: float, limits: Settings) -> CallEnded | None:
        """Why the session has to end by itself at `now`, by the operator's timeouts; None: it may go on."""
        if self.state is SessionState.PARKED:
            may_come = now - self.parked_at <= self.break_left_s
            return None if may_come else self.not_resumed("The client did not come back in time.")
        if self.outbox.stalled_s(now) > limits.stalled_s:
            return NotListening(f"The client read nothing for {limits.stalled_s:g} s. The call was ended.")
        if self.ready_at is None:
            return None
        if self.last_audio_at is None:
            is_late = now - self.ready_at > limits.first_audio_s
            sentence = f"No audio was received within {limits.first_audio_s:g} s. The call was ended."
            return NoAudioTimeout(sentence) if is_late else None
        if self.first_audio_at is not None and now - self.first_audio_at > self._max_talk_s:
            return LimitReached(_LIMIT_REACHED)  # its frames came too slowly to reach it
        if now - self.last_audio_at > limits.quiet_s:
            return IdleTimeout(f"No audio was received for {limits.quiet_s:g} s. The call was ended.")
        return None

    def not_resumed(self, sentence: str) -> ClientClosed:
        """Why a parked session ends: its connection was lost, or its client had hung up."""
        return ConnectionLost(sentence) if self._is_lost else ClientClosed("The client closed the connection.")

    def end(self, why: CallEnded) -> None:
        """The session is over, for the first reason that is given."""
        if self.ended:
            return
        self.ended = why
        self.outbox.end(why)
        if self.recording:
            self.recording.end(why.code)
        if self.state in (SessionState.RUNNING, SessionState.PARKED):
            self._move(SessionState.DRAINING)

    def close(self) -> None:
        """It holds no slot and no place in the queue any more."""
        self._move(SessionState.CLOSED)

    def _send_ready(self, token: str | None, gap_s: float | None = None) -> None:
        self.send_event(
            Ready(
                session_id=self.id,
                seed=self.params.text_seed,
                resume_token=token,
                resume_s=round(self.break_left_s, 2) if token else None,
                left_s=None if self._replies_left is None else round(self._replies_left * FRAME_S),
                is_recorded=self.recording is not None if self.params.record else None,
                gap_s=gap_s,
            )
        )

    def _move(self, to: SessionState) -> None:
        if to not in _NEXT[self.state]:
            expected = " or ".join(sorted(s.value for s in _NEXT[self.state])) or "nothing"
            raise RuntimeError(f"a session that is {self.state.value} may become {expected}, not {to.value}")
        self.state = to
