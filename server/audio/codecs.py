"""Audio formats by name, each with its encoder and decoder. A new format is one line in `CODECS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from server.audio.framing import Pcm
from server.audio.opus import OpusDecoder, OpusEncoder
from server.audio.packet import packet_samples

AudioFormat: TypeAlias = Literal["opus"]


class AudioDecoder(Protocol):
    """Decodes the packets of one connection."""

    def decode(self, packet: bytes) -> Pcm:
        """Decode one packet to f32 [n], mono at 24 kHz, within -1 … 1. Raises UndecodablePacket."""
        ...

    def conceal(self, samples: int) -> Pcm:
        """Return f32 [samples] in place of audio that could not be decoded."""
        ...


class AudioEncoder(Protocol):
    """Encodes the frames of one connection."""

    def encode(self, frame: Pcm) -> list[bytes]:
        """Encode one frame f32 [1920] to packets. Samples beyond -1 … 1 are clipped, NaN becomes silence."""
        ...


@dataclass(frozen=True, slots=True)
class Codec:
    """Makes the decoder and the encoder of a format: after admission, since they cost memory and time."""

    make_decoder: Callable[[], AudioDecoder]
    make_encoder: Callable[[], AudioEncoder]
    packet_samples: Callable[[bytes], int]  # at 24 kHz, without decoding; 0: not a packet of this format


CODECS: dict[AudioFormat, Codec] = {"opus": Codec(OpusDecoder, OpusEncoder, packet_samples)}
