"""Which session sits in which batch row, and the batch itself. Owner: engine thread.

Lowest free slot first keeps the live rows together, and when calls end, those in high rows move down; a step runs on
the smallest bucket of rows that holds them all. Knows no model and no socket.
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
        """How long a frame waited, was stepped, and of that was in the model's hands."""
        step_s = self.ended_at - self.started_at
        behind_s = max(0.0, self.previous_ended_at - max(offered_at, self.previous_started_at))
        return {"wait_s": self.started_at - offered_at, "step_s": step_s, "model_s": step_s + behind_s}


@dataclass(frozen=True, slots=True)
class Gathered:
    """One step's batch, and whose frames are in it: row, session, frame."""

    batch: Batch
    frames: list[tuple[int, Session, SourceFrame]]

    def scatter(self, result: StepResult, times: StepTimes) -> list[tuple[Session, Reply]]:
        """To each session what was said to its frame, but to those whose call broke."""
        replies: list[tuple[Session, Reply]] = []
        for row, session, frame in self.frames:
            if not result.finite[row]:
                continue
            pcm = result.pcm[row].copy() if result.spoken[row] else None  # the runner will use its buffer again
            clocked = times.reply_times(frame.offered_at)
            said = Reply(frame.pcm, pcm, result.pieces[row], frame.is_silence, frame.offered_at, **clocked)
            replies.append((session, said))
        return replies

    def broken(self, result: StepResult) -> list[Session]:
        """Whose call can't go on."""
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
        """Seat `session` in the lowest free slot."""
        slot = self._sessions.index(None)
        self._sessions[slot] = session
        self._live += 1
        self._rows = self._bucket()
        return slot

    def free(self, session: Session) -> int:
        """Give back the slot of `session`, and say which it was."""
        slot = self._sessions.index(session)
        self._vacate(slot)
        self._live -= 1
        self._rows = self._bucket()
        return slot

    def compact(self) -> list[tuple[int, int]]:
        """Move sessions down where the batch becomes smaller by that: from which slots to which, all of them free."""
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
        """One frame of every session that has one; None when none has."""
        frames: list[tuple[int, Session, SourceFrame]] = []
        self._active[:] = False
        for row, session in enumerate(self._sessions[: self._rows]):
            if session and session.source.due_at <= now and (frame := session.source.take(now)):
                self._active[row] = True
                self._pcm[row] = frame.pcm
                frames.append((row, session, frame))
        return Gathered(Batch(self._pcm[: self._rows], self._active[: self._rows]), frames) if frames else None

    def due_at(self) -> float:
        """When the first session has a frame, of silence if no other comes before; inf: none will."""
        return min((session.source.due_at for session in self._sessions[: self._rows] if session), default=math.inf)

    def seated(self) -> set[Session]:
        """Who has a slot."""
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
        seated = [session for session in self._sessions if session]
        assert len(seated) == len(set(seated)), "one session sits in two slots"
        assert len(seated) == self._live, f"{len(seated)} slots are held, and {self._live} counted"
        assert self._rows == self._bucket(), f"{self._rows} rows do not hold every live slot"
