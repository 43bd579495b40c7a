"""What waits to be sent to one client over one connection: bounded, so that a client that reads nothing costs nothing.

A session that outlives its connection gets a new one of these for the next. Owner: the event loop. Knows no socket and
no session.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from server.audio.framing import Pcm
from server.clock import Clock
from server.errors import CallEnded
from server.events import ServerEvent, Skipped

OUTBOX_FRAMES = 25  # 2 s: what may wait for a client that reads nothing; then the oldest is dropped


@dataclass(frozen=True, slots=True)
class Reply:
    """What one step made of one frame."""

    input_pcm: Pcm  # [FRAME_SAMPLES]
    pcm: Pcm | None  # [FRAME_SAMPLES]; None: nothing was said, the model's delays still fill
    piece: str  # "" for none
    is_silence: bool  # it answers silence that the session put in for a microphone that sent nothing
    offered_at: float
    wait_s: float  # from the offer to the step
    step_s: float
    model_s: float  # the step, and what of the wait was for the step before it


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """A command to the connection, not an event: send something, because nothing was sent for seconds."""


class Outbox:
    """Replies in their order, and before them one event of each type."""

    def __init__(self, clock: Clock) -> None:
        self.ended: CallEnded | None = None  # why nothing more is sent over this socket
        self.taken_at = clock.now()  # when it was last empty or taken from
        self._clock = clock
        self._events: dict[type, ServerEvent | KeepAlive] = {}  # oldest first
        self._replies: deque[Reply] = deque()
        self._filled = asyncio.Event()
        self._closed = asyncio.Event()

    def put_reply(self, reply: Reply) -> bool:
        """Queue what a step said. False: the oldest was dropped for it, since the client reads nothing."""
        self._note_first()
        self._replies.append(reply)
        self._filled.set()
        if len(self._replies) <= OUTBOX_FRAMES:
            return True
        self._replies.popleft()
        return False

    def put_event(self, event: ServerEvent | KeepAlive) -> None:
        """Queue an event. A newer one of the same type takes the place of one not yet sent; skipped frames add up."""
        if self.ended:
            return
        self._note_first()
        if isinstance(event, Skipped):
            event = Skipped(self.unreported_skips + event.frames)
        self._events[type(event)] = event
        self._filled.set()

    async def next(self) -> Reply | ServerEvent | KeepAlive | None:
        """What to send next, events first; None when it has ended and all was taken."""
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
        """Queue nothing more, for the first reason given; how many replies are dropped by that."""
        if self.ended:
            return 0
        self.ended = why
        unsent = 0
        if not why.drains:
            unsent = len(self._replies)
            self._events.clear()
            self._replies.clear()
        self._closed.set()
        self._filled.set()
        return unsent

    async def wait_closed(self) -> CallEnded:
        """Wait for the end; why it came."""
        await self._closed.wait()
        assert self.ended is not None
        return self.ended

    @property
    def unreported_skips(self) -> int:
        """How many skipped frames the client has yet to be told of."""
        skipped = self._events.get(Skipped)
        return skipped.frames if isinstance(skipped, Skipped) else 0

    @property
    def is_empty(self) -> bool:
        return not (self._events or self._replies)

    def stalled_s(self, now: float) -> float:
        """For how long the client has read nothing of what waits for it."""
        return 0.0 if self.is_empty else now - self.taken_at

    def _note_first(self) -> None:
        if self.is_empty:
            self.taken_at = self._clock.now()
