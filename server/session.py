"""One conversation: its parameters, its states and its two bounded queues.

The inbox goes from the event loop to the engine thread and is the only thing both touch, under a lock; all
else belongs to the event loop. Knows no socket, no Opus and no slot.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.audio.framing import FRAME_S, Pcm
from server.engine.clock import Clock
from server.engine.inbox import Inbox, Offered
from server.errors import BadParameter, CallEnded, LimitReached
from server.metrics import Window

OUTBOX_FRAMES = 25  # 2 s: what a caller who does not listen may leave unsent
LIMIT_NOTICE_FRAMES = 125  # 10 s before the end of a call of limited length its caller is told


class SessionParams(BaseModel):
    """A caller's choices, checked. Names are those that existing clients send as query parameters."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    text_temperature: float = Field(default=0.7, ge=0, le=2)
    text_topk: int = Field(default=25, ge=0, le=500)  # 0: all
    audio_temperature: float = Field(default=0.8, ge=0, le=2)
    audio_topk: int = Field(default=250, ge=0, le=500)
    text_seed: int = Field(default=0, ge=0, lt=2**63)
    audio_seed: int = Field(default=0, ge=0, lt=2**63)
    pad_mult: float = Field(default=0.0, ge=-4, le=4)
    repetition_penalty: float = Field(default=1.0, ge=1, le=2)
    repetition_penalty_context: int = Field(default=64, ge=0, le=200)
    max_steps: int | None = Field(default=None, ge=1)

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> SessionParams:
        """Read a URL's query. `seed` sets both seeds, -1 or none at all draws one. Raises BadParameter."""
        seed = query.get("seed", "-1")
        if seed == "-1":
            seed = str(secrets.randbelow(2**32))
        try:
            # Checked under its own name, so that the sentence names what the caller wrote.
            cls.model_validate({"text_seed": seed})
        except ValidationError as error:
            raise BadParameter(_sentence(error, name="seed")) from None
        try:
            return cls.model_validate({"text_seed": seed, "audio_seed": seed, **query})
        except ValidationError as error:
            raise BadParameter(_sentence(error)) from None


def _sentence(error: ValidationError, name: str | None = None) -> str:
    """The first of what is wrong, in words that name the parameter."""
    first = error.errors(include_url=False, include_input=False)[0]
    parameter, message = name or first["loc"][0], first["msg"]
    if message.startswith("Input should"):
        return f"{parameter} {message.removeprefix('Input ')}."
    return f"{parameter} is not valid: {message}."


class SessionState(enum.Enum):
    WAITING = "waiting"  # in line, or on its way into a slot
    RUNNING = "running"
    DRAINING = "draining"  # over; what was said before is still sent
    CLOSED = "closed"  # holds nothing


_NEXT = {
    SessionState.WAITING: {SessionState.RUNNING, SessionState.CLOSED},
    SessionState.RUNNING: {SessionState.DRAINING},
    SessionState.DRAINING: {SessionState.CLOSED},
    SessionState.CLOSED: set[SessionState](),
}

Event = dict[str, Any]  # what is told with ?events=1


@dataclass(frozen=True, slots=True)
class Reply:
    """What one step made of one frame."""

    pcm: Pcm | None  # [FRAME_SAMPLES]; None: nothing was said, the model's delays still fill
    piece: str  # "" for none
    to_silence: bool
    offered_at: float
    wait_s: float  # from the offer to the step
    step_s: float
    model_s: float  # the step, and what of the wait was for the step before it


class Session:
    """A caller's conversation, from the line to its end."""

    def __init__(
        self,
        params: SessionParams,
        clock: Clock,
        wake_engine: Callable[[], None] = lambda: None,
        max_call_s: float | None = None,
    ) -> None:
        self.call = secrets.token_hex(4)
        self.params = params
        self.state = SessionState.WAITING
        self.ended: CallEnded | None = None
        self.counts: Counter[str] = Counter()
        self.turnaround = Window()
        self._clock = clock
        self._wake_engine = wake_engine

        max_frames = _max_frames(params.max_steps, max_call_s)
        self.inbox = Inbox(max_frames)
        self._replies_left = max_frames

        self._events: dict[str, Event] = {}  # at most one of each type, oldest first
        self._replies: deque[Reply] = deque()
        self._steps, self._step_s, self._wait_s = 0, 0.0, 0.0  # since the last stats
        self._outbox_filled = asyncio.Event()
        self._over = asyncio.Event()
        self.came_at = clock.now()
        self.greeted_at: float | None = None
        self.heard_at: float | None = None  # when audio last came
        self.taken_at = clock.now()  # when the outbox was last empty or taken from

    def offer(self, pcm: Pcm) -> None:
        """Hand one frame f32 [1920] to the engine; what is late or too much is skipped, counted and told."""
        now = self.heard_at = self._clock.now()
        match self.inbox.offer(pcm, now):
            case Offered.LATE | Offered.SKIPPED as fate:
                self.counts[fate.value] += 1
                self.tell({"type": "skip", "frames": 1})
        self._wake_engine()

    # ── The model's voice, and what else the caller is told. Event loop only.

    def deliver(self, reply: Reply) -> None:
        """Queue what a step said. What a caller does not take for two seconds is dropped and counted."""
        if self.ended:
            return
        self.counts["heard"] += 1
        self.counts["silence"] += reply.to_silence
        self._steps += 1
        self._step_s += reply.step_s
        self._wait_s += reply.wait_s
        if not self._has_outgoing:
            self.taken_at = self._clock.now()
        self._replies.append(reply)
        if len(self._replies) > OUTBOX_FRAMES:
            self._replies.popleft()
            self.counts["unsent"] += 1
            self.tell({"type": "skip", "frames": 1})
        self._outbox_filled.set()
        if self._replies_left is not None:
            self._count_down(self._replies_left - 1)

    def tell(self, event: Event) -> None:
        """Queue an event. A newer one of the same type takes the place of one not yet sent; skips add up."""
        if self.ended:
            return
        if not self._has_outgoing:
            self.taken_at = self._clock.now()
        before = self._events.get(event["type"])
        if before is not None and event["type"] == "skip":
            event = {**event, "frames": before["frames"] + event["frames"]}
        self._events[event["type"]] = event
        self._outbox_filled.set()

    def tell_stats(self) -> None:
        """Tell how the steps since the last time went, if there were any."""
        if self._steps:
            step_ms, wait_ms = (round(1e3 * total / self._steps, 2) for total in (self._step_s, self._wait_s))
            self.tell({"type": "stats", "step_ms": step_ms, "wait_ms": wait_ms})
            self._steps, self._step_s, self._wait_s = 0, 0.0, 0.0

    async def next(self) -> Reply | Event | None:
        """What to send next, events first; None when the call is over and all was taken."""
        while not self._has_outgoing:
            if self.ended:
                return None
            self._outbox_filled.clear()
            await self._outbox_filled.wait()
        self.taken_at = self._clock.now()
        if self._events:
            return self._events.pop(next(iter(self._events)))
        return self._replies.popleft()

    @property
    def _has_outgoing(self) -> bool:
        return bool(self._events or self._replies)

    def stalled_s(self, now: float) -> float:
        """For how long the caller has taken nothing of what waits for it."""
        return now - self.taken_at if self._has_outgoing else 0.0

    def _count_down(self, left: int) -> None:
        self._replies_left = left
        if left == LIMIT_NOTICE_FRAMES:
            self.tell({"type": "limit", "left_s": round(LIMIT_NOTICE_FRAMES * FRAME_S)})
        if left == 0:
            self.end(LimitReached("The call has reached its length."))

    # ── Its life. Event loop only.

    def open(self) -> None:
        """It has its slot: the model hears from here on."""
        self._move(SessionState.RUNNING)
        self.tell({"type": "ready", "call": self.call, "seed": self.params.text_seed, "resume": None})

    def end(self, why: CallEnded) -> None:
        """The call is over, for the first reason that is given."""
        if self.ended:
            return
        self.ended = why
        if not why.drains:
            self._events.clear()
            self._replies.clear()
        if self.state is SessionState.RUNNING:
            self._move(SessionState.DRAINING)
        self._over.set()
        self._outbox_filled.set()

    async def over(self) -> CallEnded:
        """Wait for the end, and why."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    def close(self) -> None:
        """It holds no slot and no place in line any more."""
        self._move(SessionState.CLOSED)

    def _move(self, to: SessionState) -> None:
        if to not in _NEXT[self.state]:
            expected = " or ".join(sorted(s.value for s in _NEXT[self.state])) or "nothing"
            raise RuntimeError(f"a session that is {self.state.value} becomes {expected}, not {to.value}")
        self.state = to


def _max_frames(max_steps: int | None, max_call_s: float | None) -> int | None:
    by_time = None if max_call_s is None else max(1, round(max_call_s / FRAME_S))
    return min((n for n in (max_steps, by_time) if n is not None), default=None)
