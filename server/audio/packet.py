"""The duration of an Opus packet, read from its first two bytes (RFC 6716 §3.1) without decoding it.

Needs no libopus. Ogg's granule positions, the size limit of a message and the load tester's frame count use it.
"""

from __future__ import annotations

from server.audio.framing import SAMPLE_RATE_HZ

MAX_PACKET_BYTES = 8_192  # 120 ms at Opus's highest rate, 510 kbit/s, are 7,650 bytes
MAX_PACKET_SAMPLES = SAMPLE_RATE_HZ * 120 // 1000  # RFC 6716 §3.2: no packet is longer than 120 ms


class UndecodablePacket(Exception):
    """A packet cannot be decoded. The decoder stays usable: `conceal` the packet's duration and continue."""


def _subframe_samples(config: int) -> int:
    """Samples at 24 kHz of one Opus frame of a TOC byte's configuration number (RFC 6716, table 2)."""
    if config < 12:  # SILK: 10, 20, 40, 60 ms
        return (240, 480, 960, 1440)[config & 3]
    if config < 16:  # hybrid: 10, 20 ms
        return (240, 480)[config & 1]
    return (60, 120, 240, 480)[config & 3]  # CELT: 2.5, 5, 10, 20 ms


_SUBFRAME_SAMPLES = tuple(_subframe_samples(toc >> 3) for toc in range(256))


def subframe_samples(toc: int) -> int:
    """Samples at 24 kHz of one Opus frame of a packet that begins with the byte `toc`."""
    return _SUBFRAME_SAMPLES[toc]


def packet_samples(packet: bytes) -> int:
    """Samples at 24 kHz that `packet` decodes to; 0 if it is not an Opus packet."""
    if not 0 < len(packet) <= MAX_PACKET_BYTES:
        return 0
    toc = packet[0]
    code = toc & 3
    if code == 0:
        subframes = 1
    elif code < 3:
        subframes = 2
    else:
        subframes = packet[1] & 0x3F if len(packet) > 1 else 0
    samples = subframes * _SUBFRAME_SAMPLES[toc]
    return samples if samples <= MAX_PACKET_SAMPLES else 0
