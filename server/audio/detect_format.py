"""Tells what audio is that a client sends in place of Opus, so that the client can be told.

Containers are known by their first bytes. Raw audio is known by what it is not: an Opus packet's lengths add up (RFC
6716 §3.2), and packets that follow each other mostly agree in their configuration. Nothing that an Opus encoder writes
is taken for anything else. Decodes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from server.audio.packet import MAX_PACKET_BYTES, packet_samples, subframe_samples

ADVICE = "Send Opus: the pages of one Ogg Opus stream, or one raw Opus packet in each message."

_MAX_FRAME_BYTES = 1_275  # RFC 6716 §3.2, R2
_MAX_SILK_BYTES = {240: 280, 480: 500}  # in a frame of 10 or 20 ms: twice what libopus spends at its highest rate
_MIN_CONSTANT_BYTES = 40  # the same byte so often is silence in PCM, and in no Opus packet
_MP4_BOXES = (b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"mdat", b"emsg")
_NEEDED_BYTES = 12  # to know any container

_MIN_PACKETS, _MIN_LARGE_PACKETS, _LARGE_BYTES = 5, 2, 8_000  # that are not Opus, before it is said
_SETTLED_PACKETS = 100  # then it is Opus, whatever still comes
_SAMPLE_BYTES = 8_192  # of the packets, from which it is guessed what they are


def is_opus_packet(packet: bytes) -> bool:
    """Whether the lengths in `packet` add up: R1 to R7 of RFC 6716 §3.4, which libopus requires, too."""
    if not packet_samples(packet):
        return False
    code, body = packet[0] & 3, len(packet) - 1
    if code == 0:
        return body <= _MAX_FRAME_BYTES
    if code == 1:
        return body % 2 == 0 and body // 2 <= _MAX_FRAME_BYTES
    if code == 2:
        length, at = _frame_length(packet, 1)
        return length >= 0 and 0 <= len(packet) - at - length <= _MAX_FRAME_BYTES
    return _is_code_3(packet)


def _is_code_3(packet: bytes) -> bool:
    is_vbr, has_padding, count = packet[1] & 0x80, packet[1] & 0x40, packet[1] & 0x3F
    at, padding = 2, 0
    while has_padding:
        if at >= len(packet):
            return False
        padding += min(packet[at], 254)
        has_padding = packet[at] == 255
        at += 1
    if not is_vbr:
        body = len(packet) - at - padding
        return body >= 0 and body % count == 0 and body // count <= _MAX_FRAME_BYTES
    total = 0
    for _ in range(count - 1):
        length, at = _frame_length(packet, at)
        if length < 0:
            return False
        total += length
    return 0 <= len(packet) - at - padding - total <= _MAX_FRAME_BYTES


def _frame_length(packet: bytes, at: int) -> tuple[int, int]:
    """The length of a frame that is written at `at`, -1 if it is cut off, and where it ends (RFC 6716 §3.2.1)."""
    if at >= len(packet) or (packet[at] >= 252 and at + 1 >= len(packet)):
        return -1, at
    if packet[at] < 252:
        return packet[at], at + 1
    return packet[at] + 4 * packet[at + 1], at + 2


def container_name(begun: bytes) -> str | None:
    """What container `begun`, the first bytes of a stream, is of; None: none that is known."""
    found = _unmistakable(begun)
    if found or is_opus_packet(begun):
        return found
    if begun[:1] == b"\xff" and len(begun) > 2:
        if begun[1] & 0xF6 == 0xF0:
            return "AAC (ADTS)"
        if begun[1] & 0xE0 == 0xE0 and begun[1] & 0x06 and begun[2] >> 4 != 15 and begun[2] & 0x0C != 0x0C:
            return "MP3"
    if begun[:4] in (b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75"):
        return "WebM"
    return None


def _unmistakable(begun: bytes) -> str | None:
    """By so many bytes that no Opus packet has them by chance."""
    if begun[:4] == b"\x1a\x45\xdf\xa3" and (b"webm" in begun[:80] or b"matroska" in begun[:80]):
        return "WebM" if b"webm" in begun[:80] else "Matroska"
    if begun[4:8] in _MP4_BOXES and begun[:2] == b"\0\0":
        return "MP4"
    if begun[:4] in (b"RIFF", b"RIFX", b"RF64") and begun[8:12] == b"WAVE":
        return "WAV"
    if begun[:4] == b"fLaC" and begun[4:8] in (b"\0\0\0\x22", b"\x80\0\0\x22"):
        return "FLAC"
    if begun[:3] == b"ID3" and len(begun) >= 10 and begun[3] in (2, 3, 4) and max(begun[6:10]) < 0x80:
        return "MP3"
    if begun[:4] == b"FORM" and begun[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if begun[:8] == b"caff\0\1\0\0":
        return "CAF"
    return "AMR" if begun[:6] == b"#!AMR\n" or begun[:9] == b"#!AMR-WB\n" else None


class RawOpusCheck:
    """Watches the first packets of a raw stream, until it is clear whether they are Opus. Holds 8 kB at most."""

    def __init__(self) -> None:
        self._begun = b""
        self._sample = b""
        self._not_opus = self._not_opus_bytes = 0
        self._valid = self._agreeing = 0  # agreeing: with the valid packet before
        self._configuration: int | None = None  # of the last valid packet

    def found(self, packet: bytes) -> str | None:
        """Look at the next packet. Returns what the stream is once it is clear that it is not Opus; else None."""
        if len(self._begun) < _NEEDED_BYTES:
            self._begun += packet[: 4 * _NEEDED_BYTES]
            if name := container_name(packet) or container_name(self._begun):
                return name
        if self._valid + self._not_opus >= _SETTLED_PACKETS:
            return None
        self._sample += packet[: max(0, _SAMPLE_BYTES - len(self._sample))]
        if is_opus_packet(packet) and _is_plausible(packet):
            self._valid += 1
            self._agreeing += packet[0] >> 2 == self._configuration
            self._configuration = packet[0] >> 2
        else:
            self._not_opus += 1
            self._not_opus_bytes += len(packet)
        return guess(self._sample) if self._is_clear() else None

    def _is_clear(self) -> bool:
        is_large = self._not_opus_bytes >= _LARGE_BYTES and self._not_opus >= _MIN_LARGE_PACKETS
        if self._not_opus < _MIN_PACKETS and not is_large:
            return False
        # Damaged Opus has packets between that agree; what looks like Opus by chance does not.
        return self._agreeing <= self._valid / 2 and self._valid <= 8 * self._not_opus


def _is_plausible(packet: bytes) -> bool:
    """False for what is an Opus packet by its lengths, but that no encoder writes."""
    if len(packet) >= _MIN_CONSTANT_BYTES and packet.count(packet[0]) == len(packet):
        return False
    is_silk, frame_samples = packet[0] >> 3 < 12, subframe_samples(packet[0])
    return not (is_silk and packet[0] & 3 == 0 and len(packet) > _MAX_SILK_BYTES.get(frame_samples, MAX_PACKET_BYTES))


# ── What raw audio is, by how smooth it is when it is taken for that


def guess(data: bytes) -> str:
    """What raw audio `data` probably is."""
    if len(data) >= _MIN_CONSTANT_BYTES and all(32 <= byte < 127 for byte in data):
        return "text, perhaps base64"
    if _is_float(data):
        return "32-bit float PCM"
    if not any(data):
        return "PCM (silence)"
    roughness = {name: _roughness(decode(data)) for name, decode in _DECODERS.items()}
    name = min(roughness, key=roughness.__getitem__)
    return name if roughness[name] < 0.6 else "no format that is known here"


def _is_float(data: bytes) -> bool:
    samples = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
    if not len(samples) or not any(data):
        return False
    with np.errstate(invalid="ignore"):
        size = np.abs(samples)
        is_sound = (size < 2.0) & ((size > 1e-9) | (size == 0))
    return float(is_sound.mean()) > 0.98


def _roughness(samples: NDArray[np.float64]) -> float:
    """0: a slow wave; about 1: noise (the ratio of differences to differences of samples far apart)."""
    if len(samples) < 32:
        return 1.0
    far = max(np.abs(samples - np.roll(samples, len(samples) // part)).mean() for part in (3, 5, 7))  # a tone repeats
    return float(np.abs(np.diff(samples)).mean() / far) if far else 1.0


def _int16(data: bytes) -> NDArray[np.float64]:
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64)


def _mu_law(data: bytes) -> NDArray[np.float64]:
    """G.711 §3: a sign, an exponent of three bits and a mantissa of four, all inverted."""
    codes = ~np.frombuffer(data, np.uint8)
    sizes = ((((codes & 15).astype(np.int64) << 3) + 132) << (codes >> 4 & 7)) - 132
    return np.where(codes & 0x80, -sizes, sizes).astype(np.float64)


def _a_law(data: bytes) -> NDArray[np.float64]:
    codes = np.frombuffer(data, np.uint8) ^ 0x55
    exponents, mantissas = (codes >> 4 & 7).astype(np.int64), ((codes & 15).astype(np.int64) << 4) + 8
    sizes = np.where(exponents > 0, (mantissas + 256) << np.maximum(exponents - 1, 0), mantissas)
    return np.where(codes & 0x80, sizes, -sizes).astype(np.float64)


_DECODERS: dict[str, Callable[[bytes], NDArray[np.float64]]] = {
    "16-bit PCM": _int16,
    "μ-law (G.711)": _mu_law,
    "A-law (G.711)": _a_law,
    "8-bit PCM": lambda data: np.frombuffer(data, np.uint8).astype(np.float64),
}
