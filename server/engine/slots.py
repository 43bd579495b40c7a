"""Which session has which batch row, and the batch itself. Owner: the engine thread.

The lowest free slot is taken first, which keeps the live rows together; when sessions end, those in high rows move
down. A step runs on the smallest bucket of rows that holds them all. Knows no model and no socket.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch, StepResult, buckets
from server.sessions.outbox import Reply
from server.sessions.session import Session
from server.sessions.sources import SourceFrame


@dataclass(frozen=True, slots=True)
class StepTimes:
    """When a step ran, and the one before it."""

    started_at: float
    ended_at: float
    previous_started_at: float
    previous_ended_at: float

    def reply_times(self, offered_at: float) -> dict[str, float]:
        """How long a frame waited, how long its step took, and how much of both was the model's."""
        step_s = self.ended_at - self.started_at
        behind_s = max(0.0, self.previous_ended_at - max(offered_at, self.previous_started_at))
        return {"wait_s": self.started_at - offered_at, "step_s": step_s, "model_s": step_s + behind_s}


@dataclass(frozen=True, slots=True)
class Gathered:
    """One step's batch, and the frames in it by row and session."""

    batch: Batch
    frames: list[tuple[int, Session, SourceFrame]]

    def scatter(self, result: StepResult, times: StepTimes) -> list[tuple[Session, Reply]]:
        """Each session's reply to its frame, except where the model's output is not finite."""
        replies: list[tuple[Session, Reply]] = []
        for row, session, frame in self.frames:
            if not result.finite[row]:
                continue
            pcm = result.pcm[row].copy() if result.spoken[row] else None  # the runner reuses its buffer
            clocked = times.reply_times(frame.offered_at)
            said = Reply(frame.pcm, pcm, result.pieces[row], frame.is_silence, frame.offered_at, **clocked)
            replies.append((session, said))
        return replies

    def non_finite(self, result: StepResult) -> list[Session]:
        """The sessions that cannot go on, as the model produced NaN or infinity for them."""
        return [session for row, session, _ in self.frames if not result.finite[row]]


class Slots:
    """A fixed number of batch rows."""

    def __init__(self, count: int) -> None:
        self._sessions: list[Session | None] = [None] * count
        self._buckets = buckets(count)
        self._live = 0
        self._rows = 0  # the smallest bucket that holds every live slot
        self._pcm = np.zeros((count, FRAME_SAMPLES), np.float32)
        self._active = np.zeros(count, np.bool_)

    def take(self, session: Session) -> int:
        """Give `session` the lowest free slot."""
        slot = self._sessions.index(None)
        self._sessions[slot] = session
        self._live += 1
        self._rows = self._bucket()
        return slot

    def free(self, session: Session) -> int:
        """Free the slot of `session`, and say which it was."""
        slot = self._sessions.index(session)
        self._vacate(slot)
        self._live -= 1
        self._rows = self._bucket()
        return slot

    def compact(self) -> list[tuple[int, int]]:
        """Move sessions down where that makes the batch smaller; from which slots to which."""
        size = self._smallest(self._live)
        moves: list[tuple[int, int]] = []
        for source in range(size, self._rows):
            session = self._sessions[source]
            if session:
                target = self._sessions.index(None)
                self._sessions[target] = session
                self._vacate(source)
                moves.append((source, target))
        self._rows = size
        return moves

    def gather(self, now: float) -> Gathered | None:
        """One frame of every session whose source has one at `now`; None when none has."""
        frames: list[tuple[int, Session, SourceFrame]] = []
        self._active[:] = False
        for row, session in enumerate(self._sessions[: self._rows]):
            if session and session.source.due_at <= now and (frame := session.source.take(now)):
                self._active[row] = True
                self._pcm[row] = frame.pcm
                frames.append((row, session, frame))
        return Gathered(Batch(self._pcm[: self._rows], self._active[: self._rows]), frames) if frames else None

    def due_at(self) -> float:
        """When the first source has a frame; inf: none has by itself."""
        return min((session.source.due_at for session in self._sessions[: self._rows] if session), default=math.inf)

    def holders(self) -> set[Session]:
        """The sessions that have a slot."""
        return {session for session in self._sessions if session}

    def _vacate(self, slot: int) -> None:
        self._sessions[slot] = None
        self._pcm[slot] = 0.0

    def _bucket(self) -> int:
        return self._smallest(max((slot + 1 for slot, session in enumerate(self._sessions) if session), default=0))

    def _smallest(self, rows: int) -> int:
        return self._buckets[bisect_left(self._buckets, rows)] if rows else 0

    def check_integrity(self) -> None:
        """Assert what must hold between steps."""
        holders = [session for session in self._sessions if session]
        assert len(holders) == len(set(holders)), "one session has two slots"
        assert len(holders) == self._live, f"{len(holders)} slots are held, and {self._live} counted"
        assert self._rows == self._bucket(), f"{self._rows} rows do not hold every live slot"
