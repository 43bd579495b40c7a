"""Audio formats by name: how PCM becomes what a dialect sends, and back. A new format is one line in `CODECS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from server.audio.framing import Pcm
from server.audio.opus import OpusDecoder, OpusEncoder
from server.audio.packet import packet_samples

AudioFormat: TypeAlias = Literal["opus"]


class AudioDecoder(Protocol):
    """One direction of one connection."""

    def decode(self, packet: bytes) -> Pcm:
        """A packet as f32 [n], mono at 24 kHz, within -1 … 1. Raises UndecodablePacket."""
        ...

    def conceal(self, samples: int) -> Pcm:
        """Make up f32 [samples] for audio that could not be decoded."""
        ...


class AudioEncoder(Protocol):
    """The other direction."""

    def encode(self, frame: Pcm) -> list[bytes]:
        """One frame f32 [1920] as packets. Beyond -1 … 1 is clipped, NaN is silence."""
        ...


@dataclass(frozen=True, slots=True)
class Codec:
    """How to make both ends of a format. They are made once a session is admitted: they cost memory and time."""

    make_decoder: Callable[[], AudioDecoder]
    make_encoder: Callable[[], AudioEncoder]
    packet_samples: Callable[[bytes], int]  # at 24 kHz, without decoding; 0: the packet cannot be of this format


CODECS: dict[AudioFormat, Codec] = {"opus": Codec(OpusDecoder, OpusEncoder, packet_samples)}
