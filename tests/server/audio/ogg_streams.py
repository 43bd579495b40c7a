"""Ogg pages and streams for tests, made without the code under test where they check it."""

from __future__ import annotations

import itertools
import struct

import numpy as np

from server.audio.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.audio.ogg import OggOpusReader, OggOpusWriter

PACKETS = [bytes([0x68, k % 251]) * (30 + 7 * k) for k in range(60)]  # 20 ms each, 60 … 886 bytes


def make_page(
    body: bytes, lacing: list[int], *, flags: int = 0, serial: int = 1, sequence: int = 0, version: int = 0
) -> bytes:
    """A page by RFC 3533, made without `OggOpusWriter`."""
    fields = b"OggS" + struct.pack("<BBQIII", version, flags, 0, serial, sequence, 0)
    page = bytearray(fields + bytes([len(lacing)]) + bytes(lacing) + body)
    page[22:26] = slow_crc(page).to_bytes(4, "little")
    return bytes(page)


def slow_crc(page: bytes | bytearray) -> int:
    """The page's checksum by RFC 3533, bit by bit."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc


def opus_head(channels: int = 1, rate_hz: int = 24_000, family: int = 0, version: int = 1) -> bytes:
    return struct.pack("<8sBBHIhB", b"OpusHead", version, channels, 3840, rate_hz, 0, family)


def head_page(head: bytes, serial: int = 1) -> bytes:
    return make_page(head, [len(head)], flags=2, serial=serial)


def stream(packets: list[bytes], per_page: int = 4, serial: int = 1) -> list[bytes]:
    """The header pages as one item, then each page of `per_page` packets, by `OggOpusWriter`."""
    writer = OggOpusWriter(serial)
    return [
        writer.headers(),
        *(writer.page(packets[at : at + per_page]) for at in range(0, len(packets), per_page)),
    ]


def read(data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    """The packets of `data`, read in pieces cut at `cuts`; no page may be lost."""
    reader, packets = OggOpusReader(), []
    edges = [0, *sorted(cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        packets += reader.push(data[start:end])
    assert reader.lost_pages == 0
    return packets


def speech(frames: int) -> Pcm:
    t = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * (200 + 40 * t) * t)).astype(np.float32)


def correlation(sent: Pcm, decoded: Pcm, max_lag: int = 1_000) -> float:
    """The highest correlation of `sent` with `decoded` at any delay up to `max_lag` samples."""
    span = min(len(sent), len(decoded)) - max_lag
    return max(float(np.corrcoef(sent[:span], decoded[lag : lag + span])[0, 1]) for lag in range(max_lag))
