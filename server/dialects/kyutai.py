"""Kyutai's `/api/chat` as a `Dialect`: what the reference's clients speak, and what we add to it.

The bytes are `kyutai_protocol.py`'s. A client that says `?events=1` understands more than the reference's do: it is
told events as metadata (kind 4), may wait in the queue, and may resume. `README.md` beside this file has all of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from server.audio.codecs import AudioFormat
from server.dialects.dialect import Message, SessionRequest
from server.dialects.kyutai_protocol import MAX_MESSAGE_BYTES, AudioForm, AudioReceived, KyutaiProtocol, Malformed
from server.errors import Forbidden, ParleyError, ProtocolError, Refused
from server.events import (
    AudioIn,
    AudioLost,
    AudioOut,
    ClientEvent,
    Draining,
    Ended,
    InvalidMessage,
    LimitNear,
    Queued,
    Ready,
    RecordingStopped,
    ServerEvent,
    Skipped,
    Stats,
    TextOut,
    Warned,
)


class KyutaiDialect:
    """The server's end of one connection to `/api/chat`."""

    path: ClassVar[str] = "/api/chat"
    audio_format: ClassVar[AudioFormat] = "opus"
    max_message_bytes: ClassVar[int] = MAX_MESSAGE_BYTES

    def __init__(self, query: Mapping[str, str]) -> None:
        self._wants_events = query.get("events") == "1"
        self.request = SessionRequest(
            choices=query,
            may_wait=self._wants_events,
            may_be_held=not self._wants_events,
            resume_token=query.get("resume") if self._wants_events else None,
        )
        self._protocol = KyutaiProtocol()
        self._lost_pages = 0

    @property
    def wire_state(self) -> Hashable:
        """The form of audio that the client spoke last; None: none yet."""
        return self._protocol.form

    def restore(self, wire_state: Hashable) -> None:
        """Answer in the form of the connection before, until the client speaks on this one."""
        if isinstance(wire_state, AudioForm):
            self._protocol.expect(wire_state)

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """What a message means to the session; the kinds that say nothing to a server are ignored."""
        try:
            received = self._protocol.receive(message)
        except ProtocolError as error:
            error.lost_frames = self._take_lost_pages()
            raise
        events: list[ClientEvent] = []
        if lost_pages := self._take_lost_pages():
            events.append(AudioLost(lost_pages))  # a page is a frame, as a rule
        for item in received:
            match item:
                case AudioReceived(packets):
                    events.append(AudioIn(packets))
                case Malformed(reason):
                    events.append(InvalidMessage(reason))
                case _:
                    pass
        return events

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Audio, text, errors and the handshake for every client; everything else for one that asked for events."""
        protocol = self._protocol
        match event:
            case AudioOut(packets):
                return protocol.audio(packets)
            case TextOut(piece):
                return [protocol.text(piece)]
            case Warned(sentence):
                return [protocol.error(sentence)]
            case Ready():  # the handshake comes last: a client that has it holds the resume token
                return [*self._metadata(_ready(event)), protocol.handshake()]
            case Ended(reason, sentence, is_fault):
                error = [protocol.error(sentence)] if is_fault else []
                return [*error, *self._metadata({"type": "end", "reason": reason})]
            case Queued(position, wait_s):
                return self._metadata({"type": "queue", "position": position, "ahead_s": wait_s})
            case Skipped(frames):
                return self._metadata({"type": "skip", "frames": frames})
            case Stats(step_ms, wait_ms, delay_ms):
                stats = {"type": "stats", "step_ms": step_ms, "wait_ms": wait_ms, "delay_ms": delay_ms}
                return self._metadata(stats)
            case LimitNear(left_s):
                return self._metadata({"type": "limit", "left_s": left_s})
            case Draining(left_s):
                return self._metadata({"type": "drain", "left_s": left_s})
            case RecordingStopped():
                return self._metadata({"type": "recording", "on": False})

    def keep_alive(self) -> Sequence[Message]:
        """Kyutai's own ping (kind 6): their page hangs up after 10 s without a message."""
        return [self._protocol.ping()]

    def refuses_over_http(self, why: ParleyError) -> bool:
        """True for forbidden clients, and where a client without events is refused before it is accepted."""
        return isinstance(why, Forbidden) or (isinstance(why, Refused) and not self._wants_events)

    def _take_lost_pages(self) -> int:
        """How many pages were lost since the last call."""
        before, self._lost_pages = self._lost_pages, self._protocol.lost_pages
        return self._lost_pages - before

    def _metadata(self, data: dict[str, object]) -> list[Message]:
        return [self._protocol.metadata(data)] if self._wants_events else []


def _ready(event: Ready) -> dict[str, object]:
    optional = {
        "left_s": event.left_s,
        "resume_s": event.resume_s,
        "recording": event.is_recorded,
        "gap_s": event.gap_s,
    }
    always = {"type": "ready", "call": event.session_id, "seed": event.seed, "resume": event.resume_token}
    return always | {name: value for name, value in optional.items() if value is not None}
