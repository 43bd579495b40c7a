"""What waits to be sent to one caller over one socket: bounded, so that who does not listen costs nothing.

A conversation that outlives its socket gets a new one of these for the next. Owner: the event loop. Knows no socket and
no session.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from server.audio.framing import Pcm
from server.clock import Clock
from server.errors import CallEnded

OUTBOX_FRAMES = 25  # 2 s: what a caller who does not listen may leave unsent

Event = dict[str, Any]  # what is told with ?events=1


@dataclass(frozen=True, slots=True)
class Reply:
    """What one step made of one frame."""

    heard: Pcm  # [FRAME_SAMPLES]
    pcm: Pcm | None  # [FRAME_SAMPLES]; None: nothing was said, the model's delays still fill
    piece: str  # "" for none
    to_silence: bool
    offered_at: float
    wait_s: float  # from the offer to the step
    step_s: float
    model_s: float  # the step, and what of the wait was for the step before it


class Outbox:
    """Replies in their order, and before them one event of each type."""

    def __init__(self, clock: Clock) -> None:
        self.ended: CallEnded | None = None  # why nothing more is sent over this socket
        self.taken_at = clock.now()  # when it was last empty or taken from
        self._clock = clock
        self._events: dict[str, Event] = {}  # oldest first
        self._replies: deque[Reply] = deque()
        self._filled = asyncio.Event()
        self._over = asyncio.Event()

    def say(self, reply: Reply) -> bool:
        """Queue what a step said. False: the oldest was thrown away for it, since the caller takes nothing."""
        self._note_first()
        self._replies.append(reply)
        self._filled.set()
        if len(self._replies) <= OUTBOX_FRAMES:
            return True
        self._replies.popleft()
        return False

    def tell(self, event: Event) -> None:
        """Queue an event. A newer one of the same type takes the place of one not yet sent; skips add up."""
        if self.ended:
            return
        self._note_first()
        before = self._events.get(event["type"])
        if before is not None and event["type"] == "skip":
            event = {**event, "frames": before["frames"] + event["frames"]}
        self._events[event["type"]] = event
        self._filled.set()

    async def next(self) -> Reply | Event | None:
        """What to send next, events first; None when it is over and all was taken."""
        while self.is_empty:
            if self.ended:
                return None
            self._filled.clear()
            await self._filled.wait()
        self.taken_at = self._clock.now()
        if self._events:
            return self._events.pop(next(iter(self._events)))
        return self._replies.popleft()

    def end(self, why: CallEnded) -> int:
        """Take nothing more, for the first reason given; how many replies that are not sent any more."""
        if self.ended:
            return 0
        self.ended = why
        unsent = 0
        if not why.drains:
            unsent = len(self._replies)
            self._events.clear()
            self._replies.clear()
        self._over.set()
        self._filled.set()
        return unsent

    async def over(self) -> CallEnded:
        """Wait for the end, and why."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    @property
    def untold_frames(self) -> int:
        """How many skipped frames the caller has yet to be told of."""
        return self._events.get("skip", {"frames": 0})["frames"]

    @property
    def is_empty(self) -> bool:
        return not (self._events or self._replies)

    def stalled_s(self, now: float) -> float:
        """For how long the caller has taken nothing of what waits for it."""
        return 0.0 if self.is_empty else now - self.taken_at

    def _note_first(self) -> None:
        if self.is_empty:
            self.taken_at = self._clock.now()
