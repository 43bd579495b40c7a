"""Which session sits in which batch row, and the batch itself. Owner: engine thread.

Lowest free slot first keeps the live rows together; a step runs on the smallest power of two of rows that
holds them all. Knows no model and no socket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch, StepResult
from server.engine.inbox import Frame
from server.session import Reply, Session


@dataclass(frozen=True, slots=True)
class Times:
    """When a step ran, and the one before it."""

    started_at: float
    ended_at: float
    previous_started_at: float
    previous_ended_at: float

    def reply_times(self, offered_at: float) -> dict[str, float]:
        """How long a frame waited, was stepped, and of that was in the model's hands."""
        step_s = self.ended_at - self.started_at
        behind_s = max(0.0, self.previous_ended_at - max(offered_at, self.previous_started_at))
        return {"wait_s": self.started_at - offered_at, "step_s": step_s, "model_s": step_s + behind_s}


class Slots:
    """A fixed number of batch rows."""

    def __init__(self, count: int) -> None:
        self._sessions: list[Session | None] = [None] * count
        self._frames: list[Frame | None] = [None] * count  # taken for the step under way
        self._pcm = np.zeros((count, FRAME_SAMPLES), np.float32)
        self._active = np.zeros(count, np.bool_)
        self._rows = 0  # the smallest bucket that holds every live slot

    def take(self, session: Session) -> int:
        """Seat `session` in the lowest free slot."""
        slot = self._sessions.index(None)
        self._sessions[slot] = session
        self._rows = self._bucket()
        return slot

    def free(self, session: Session) -> int:
        """Give back the slot of `session`, and say which it was."""
        slot = self._sessions.index(session)
        self._sessions[slot] = None
        self._pcm[slot] = 0.0
        self._rows = self._bucket()
        return slot

    def gather(self, now: float) -> Batch | None:
        """One frame of every session that has one; None when none has."""
        for slot in range(self._rows):
            session = self._sessions[slot]
            frame = self._frames[slot] = session.inbox.take(now) if session else None
            self._active[slot] = frame is not None
            if frame is not None:
                self._pcm[slot] = frame.pcm
        active = self._active[: self._rows]
        return Batch(self._pcm[: self._rows], active) if active.any() else None

    def scatter(self, result: StepResult, times: Times) -> list[tuple[Session, Reply]]:
        """To each session what was said to the frame that `gather` took from it."""
        replies: list[tuple[Session, Reply]] = []
        for slot in range(self._rows):
            session, frame = self._sessions[slot], self._frames[slot]
            if session is None or frame is None:
                continue
            pcm = result.pcm[slot].copy() if result.spoken[slot] else None  # the runner may use its buffer again
            clocked = times.reply_times(frame.offered_at)
            reply = Reply(pcm, result.pieces[slot], frame.is_silence, frame.offered_at, **clocked)
            replies.append((session, reply))
            self._frames[slot] = None
        return replies

    def silence_due_at(self) -> float | None:
        """When the first session is due a frame of silence."""
        dues = [due for s in self._sessions[: self._rows] if s and (due := s.inbox.silence_due_at) is not None]
        return min(dues, default=None)

    def _bucket(self) -> int:
        live = max((slot + 1 for slot, session in enumerate(self._sessions) if session), default=0)
        return min(1 << (live - 1).bit_length(), len(self._sessions)) if live else 0

    def check_integrity(self) -> None:
        """Assert what must hold between steps."""
        seated = [session for session in self._sessions if session]
        assert len(seated) == len(set(seated)), "one session sits in two slots"
        assert self._rows == self._bucket(), f"{self._rows} rows do not hold every live slot"
        assert all(frame is None for frame in self._frames), "a frame was taken and never answered"
