"""Kyutai's `/api/chat` protocol, sans-I/O: WebSocket messages in → events out, and what we say → messages.

Knows the kind bytes, the two forms that audio comes in, and what a message may not be. Knows no sockets, no
calls and does not decode Opus. The protocol is the same in both directions, so one class serves both ends: a
server learns the form from the first audio bytes, a client is told it.

    ProtocolError      the call ends; carries the WebSocket close code and a sentence for the peer
    Malformed (event)  this message means nothing; the call goes on
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from server.audio.detect_format import ADVICE, RawOpusCheck, guess
from server.audio.framing import PACKET_SAMPLES, SAMPLE_RATE_HZ
from server.audio.ogg import CAPTURE_PATTERN, OPUS_HEADERS, OggError, OggOpusReader, OggOpusWriter
from server.audio.packet import MAX_PACKET_BYTES, packet_samples
from server.errors import ProtocolError

MAX_MESSAGE_BYTES = 131_072  # two of the largest Ogg pages; a frame of speech takes 400 bytes
MAX_MESSAGE_AUDIO_S = 5.0  # of sound in one message: few bytes can claim hours, and each packet is work

MESSAGE_TOO_BIG = 1009  # RFC 6455 §7.4.1


class Kind(IntEnum):
    """The first byte of every message."""

    HANDSHAKE = 0
    AUDIO = 1
    TEXT = 2
    CONTROL = 3
    METADATA = 4
    ERROR = 5
    PING = 6
    COLORED_TEXT = 7


class AudioForm(Enum):
    OGG = "ogg"  # pages of one Ogg Opus stream, cut anywhere
    RAW = "raw"  # one Opus packet a message


@dataclass(frozen=True, slots=True)
class HandshakeReceived:
    pass


@dataclass(frozen=True, slots=True)
class AudioReceived:
    packets: tuple[bytes, ...]  # whole Opus packets, not yet known to decode


@dataclass(frozen=True, slots=True)
class TextReceived:
    piece: str


@dataclass(frozen=True, slots=True)
class ControlReceived:
    action: int  # 0 start, 1 end of turn, 2 pause, 3 restart


@dataclass(frozen=True, slots=True)
class MetadataReceived:
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    sentence: str


@dataclass(frozen=True, slots=True)
class PingReceived:
    pass


@dataclass(frozen=True, slots=True)
class Malformed:
    reason: str


Received = (
    HandshakeReceived
    | AudioReceived
    | TextReceived
    | ControlReceived
    | MetadataReceived
    | ErrorReceived
    | PingReceived
    | Malformed
)


class KyutaiProtocol:
    """One end of one call. Holds at most one unfinished Ogg page and packet."""

    def __init__(self, form: AudioForm | None = None) -> None:
        self.form = form  # None until the peer's first audio tells
        self._expected = AudioForm.OGG
        self._undecided = b""  # a first payload that may yet become "OggS"
        self._reader = OggOpusReader()
        self._raw_check = RawOpusCheck()
        self._writer: OggOpusWriter | None = None

    def expect(self, form: AudioForm) -> None:
        """The peer spoke `form` on the previous connection: answer in it until it speaks on this one."""
        self._expected = form

    @property
    def lost_pages(self) -> int:
        """Corrupt Ogg pages skipped so far."""
        return self._reader.lost_pages

    def receive(self, message: bytes | str) -> list[Received]:
        """What one WebSocket message means; nothing when its kind is unknown. Raises ProtocolError."""
        if isinstance(message, str):
            raise ProtocolError("This socket takes binary messages only, and a text message came.")
        if len(message) > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"A message may not exceed {MAX_MESSAGE_BYTES:,} bytes.", MESSAGE_TOO_BIG)
        if not message:
            return [Malformed("an empty message")]
        payload = message[1:]
        match message[0]:
            case Kind.AUDIO:
                return self._receive_audio(payload)
            case Kind.TEXT:
                return [TextReceived(payload.decode("utf-8", "replace"))]
            case Kind.CONTROL:
                return [ControlReceived(payload[0]) if len(payload) == 1 else Malformed("control is not one byte")]
            case Kind.METADATA:
                return [_metadata_event(payload)]
            case Kind.ERROR:
                return [ErrorReceived(payload.decode("utf-8", "replace"))]
            case Kind.HANDSHAKE:
                return [HandshakeReceived()]
            case Kind.PING:
                return [PingReceived()]
            case _:
                return []

    def handshake(self) -> bytes:
        """The session has its slot; until this comes, clients wait."""
        return bytes([Kind.HANDSHAKE])

    def audio(self, packets: Sequence[bytes]) -> list[bytes]:
        """One frame's Opus packets as messages, in the form that the peer speaks (Ogg, or the expected, until then).

        Ogg: one message of a page for each packet, since some clients take a page's body for one packet; the first
        message begins with the headers. Raw: one message a packet.
        """
        if (self.form or self._expected) is AudioForm.RAW:
            return [b"\x01" + packet for packet in packets]
        headers = b""
        if self._writer is None:
            self._writer = OggOpusWriter()
            headers = self._writer.headers()
        return [b"\x01" + headers + b"".join(self._writer.page([packet]) for packet in packets)]

    def text(self, piece: str) -> bytes:
        return bytes([Kind.TEXT]) + piece.encode()

    def metadata(self, data: dict[str, object]) -> bytes:
        return bytes([Kind.METADATA]) + json.dumps(data, allow_nan=False).encode()

    def error(self, sentence: str) -> bytes:
        return bytes([Kind.ERROR]) + sentence.encode()

    def ping(self) -> bytes:
        """Tells the peer that we are there: the React client hangs up after 10 s without a message."""
        return bytes([Kind.PING])

    def _receive_audio(self, payload: bytes) -> list[Received]:
        if not payload:
            return []  # nothing to hear; Kyutai's gradio client sends it constantly
        if self.form is None:
            begun = self._undecided + payload
            if len(begun) < len(CAPTURE_PATTERN) and CAPTURE_PATTERN.startswith(begun):
                self._undecided = begun
                return []
            # No Opus packet begins "Og" (39 frames of 20 ms) or is "O" alone, so this cannot be mistaken.
            self.form = AudioForm.OGG if begun.startswith(CAPTURE_PATTERN) else AudioForm.RAW
            payload = begun if self.form is AudioForm.OGG else payload
        packets = self._unpage(payload) if self.form is AudioForm.OGG else self._unwrap(payload)
        # A packet that cannot be Opus costs its receiver one concealed packet.
        samples = sum(packet_samples(packet) or PACKET_SAMPLES for packet in packets)
        if samples > MAX_MESSAGE_AUDIO_S * SAMPLE_RATE_HZ:
            raise ProtocolError(
                f"One message holds more than {MAX_MESSAGE_AUDIO_S:.0f} s of audio; send it as it is spoken.",
                MESSAGE_TOO_BIG,
            )
        return [AudioReceived(tuple(packets))] if packets else []

    def _unpage(self, payload: bytes) -> list[bytes]:
        try:
            return self._reader.push(payload)
        except OggError as error:
            raise ProtocolError(f"{error} {ADVICE}") from error

    def _unwrap(self, payload: bytes) -> list[bytes]:
        if payload.startswith(OPUS_HEADERS):
            return []
        if name := self._raw_check.found(payload):
            raise ProtocolError(f"The audio could not be decoded as Opus: it is {name}. {ADVICE}")
        if len(payload) > MAX_PACKET_BYTES:
            raise ProtocolError(
                f"An Opus packet may not exceed {MAX_PACKET_BYTES:,} bytes; this is {guess(payload)}. {ADVICE}",
                MESSAGE_TOO_BIG,
            )
        return [payload]


def _metadata_event(payload: bytes) -> Received:
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError):
        return Malformed("metadata is not JSON")
    return MetadataReceived(data) if isinstance(data, dict) else Malformed("metadata is not a JSON object")
