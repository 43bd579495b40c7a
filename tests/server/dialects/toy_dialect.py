"""A whole dialect in one file, for tests: JSON text messages with Opus packets in base64."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from typing import ClassVar

from server.audio.codecs import AudioFormat
from server.dialects.dialect import Message, SessionRequest
from server.errors import ParleyError, ProtocolError, Refused
from server.events import AudioIn, AudioOut, ClientEvent, InvalidMessage, ServerEvent


class ToyDialect:
    """`{"audio": [packet, …]}` in; `{"audio": [packet, …]}` or `{"event": NAME, …}` out."""

    path: ClassVar[str] = "/toy"
    audio_format: ClassVar[AudioFormat] = "opus"
    max_message_bytes: ClassVar[int] = 100_000

    def __init__(self, query: Mapping[str, str]) -> None:
        self.request = SessionRequest(choices=query)

    @property
    def wire_state(self) -> Hashable:
        return None

    def restore(self, wire_state: Hashable) -> None: ...

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        if isinstance(message, bytes):
            raise ProtocolError("This socket takes text messages only.")
        match json.loads(message):
            case {"audio": list(packets)}:
                return [AudioIn([b64decode(packet) for packet in packets])]
            case _:
                return [InvalidMessage("it has no audio")]

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        if isinstance(event, AudioOut):
            return [json.dumps({"audio": [b64encode(packet).decode() for packet in event.packets]})]
        return [json.dumps({"event": type(event).__name__, **asdict(event)})]

    def keep_alive(self) -> Sequence[Message]:
        return []

    def refuses_over_http(self, why: ParleyError) -> bool:
        return isinstance(why, Refused)
