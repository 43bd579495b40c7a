"""Typed events: what a client and the server tell each other, on any wire.

A dialect (`server/dialects`) turns a client's messages into events and the server's events into messages; sessions and
calls know events only. Sound inside the server is PCM and not an event: it is encoded where it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# ── From the client


@dataclass(frozen=True, slots=True)
class AudioIn:
    """Encoded audio, in the dialect's audio format. No packet is known to decode yet."""

    packets: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class AudioLost:
    """Audio that the client sent and that is not in what arrived."""

    frames: int  # about how many


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """A message that was ignored."""

    reason: str  # completes "A message was ignored: …"


ClientEvent = AudioIn | AudioLost | InvalidMessage

# ── To the client


@dataclass(frozen=True, slots=True)
class Ready:
    """The session has its slot, for the first time or again: the model hears what comes from now on."""

    session_id: str
    seed: int
    resume_token: str | None = None  # None: the session ends with its connection
    resume_s: float | None = None  # how long the token works once the connection is lost
    left_s: int | None = None  # until the length limit; None: there is none
    is_recorded: bool | None = None  # None: the client did not ask for a recording
    gap_s: float | None = None  # since the client was last heard; None: this is the beginning


@dataclass(frozen=True, slots=True)
class Queued:
    """The client waits for a slot."""

    position: int  # 1: the next one
    wait_s: int | None  # estimate; None: there is nothing to estimate from


@dataclass(frozen=True, slots=True)
class Skipped:
    """Frames that were dropped, in either direction, so that the session stays live."""

    frames: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Means over the steps since the last of these."""

    step_ms: float  # of a step
    wait_ms: float  # of a frame for its step, from when it was to be stepped
    delay_ms: float = 0.0  # now, not a mean: how much later frames are stepped than if each were sent by itself


@dataclass(frozen=True, slots=True)
class LimitNear:
    """The session is about to reach its length limit."""

    left_s: int


@dataclass(frozen=True, slots=True)
class Draining:
    """The server stops; sessions may go on for this long."""

    left_s: int


@dataclass(frozen=True, slots=True)
class RecordingStopped:
    """The recording ended before the session."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the client did had no effect."""

    sentence: str


@dataclass(frozen=True, slots=True)
class TextOut:
    """A text piece that the model thinks, with the frame that follows."""

    piece: str


@dataclass(frozen=True, slots=True)
class AudioOut:
    """One frame of the model's voice, encoded in the dialect's audio format."""

    packets: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over, or there will be none; the connection closes after this."""

    reason: str  # the `code` of an error in `server/errors.py`
    sentence: str
    is_fault: bool  # False: nothing went wrong


ServerEvent = (
    Ready | Queued | Skipped | Stats | LimitNear | Draining | RecordingStopped | Warned | TextOut | AudioOut | Ended
)
