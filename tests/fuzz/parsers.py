"""Fuzz targets for the parsers, which are pure functions of any bytes.

A target returns, or raises an exception that is a bug. Part of an input says how the rest is used: mutation never finds
a checksum, so `page` computes it.
"""

from __future__ import annotations

import struct

import numpy as np
from starlette.datastructures import QueryParams

from server.audio.framing import FRAME_SAMPLES, FrameAssembler
from server.audio.ogg import MAX_LOST_PAGES, MAX_OGG_PACKET_BYTES, MAX_PAGE_BYTES, OggError, OggOpusReader, page_crc
from server.audio.opus import OpusDecoder
from server.audio.packet import MAX_PACKET_SAMPLES, UndecodablePacket, packet_samples
from server.dialects.kyutai_protocol import (
    MAX_MESSAGE_AUDIO_S,
    MAX_MESSAGE_BYTES,
    AudioReceived,
    KyutaiProtocol,
    Malformed,
)
from server.errors import BadParameter, ProtocolError
from server.sessions.params import SessionParams


def pieces(data: bytes) -> list[bytes]:
    """Split `data` into pieces, each after its length in two bytes."""
    found: list[bytes] = []
    at = 0
    while at + 2 <= len(data):
        (length,) = struct.unpack_from("<H", data, at)
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def page(data: bytes) -> bytes:
    """A page with a valid checksum. `data` has flags, serial, number of segments, lacing and body."""
    flags, serial, segments = struct.unpack_from("<BBB", data.ljust(3, b"\0"))
    lacing, body = data[3 : 3 + segments], data[3 + segments :]
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags & 7, 0, serial & 3, 0, 0, len(lacing))
    whole = bytearray(head + lacing + body.ljust(sum(lacing), b"\0"))
    whole[22:26] = page_crc(whole).to_bytes(4, "little")
    return bytes(whole)


def ogg(data: bytes) -> None:
    """Any bytes are packets or raise OggError, wherever they are cut, and buffers stay bounded."""
    if data[:1] < b"\x80":
        parts = [data[1:]]
    else:
        parts = [page(part) if len(part) % 8 else part for part in pieces(data[1:])]
    whole = _read(parts)
    stream = b"".join(parts)
    size = 1 + data[0] % 64 if data else 1
    if len(stream) < 64 * size:
        cut = _read([stream[at : at + size] for at in range(0, len(stream), size)])
        assert cut == whole, "packets depend on where the stream is cut"


def _read(parts: list[bytes]) -> list[bytes] | None:
    """All packets, or None after an OggError."""
    reader = OggOpusReader()
    packets: list[bytes] = []
    for part in parts:
        try:
            packets += reader.push(part)
        except OggError as error:
            assert str(error).endswith(".")
            return None
        assert len(reader._buffer) <= MAX_PAGE_BYTES and len(reader._partial) <= MAX_OGG_PACKET_BYTES
        assert reader.lost_pages <= MAX_LOST_PAGES
    return packets


_SHARED = OpusDecoder(), FrameAssembler()  # as for one caller that sends every input in turn


def opus(data: bytes) -> None:
    """Any packet decodes to bounded audio of its own length, or raises UndecodablePacket; so do later packets."""
    decoder, assembler = _SHARED if data[:1] < b"\xc0" else (OpusDecoder(), FrameAssembler())
    for packet in pieces(data[1:]) or [data[1:]]:
        samples = packet_samples(packet)
        assert 0 <= samples <= MAX_PACKET_SAMPLES
        try:
            pcm = decoder.decode(packet)
        except UndecodablePacket:
            pcm = decoder.conceal(samples)
        assert len(pcm) == samples and np.abs(pcm).max(initial=0.0) <= 1.0  # false for NaN
        for frame in assembler.push(pcm):
            assert frame.shape == (FRAME_SAMPLES,)
        assert assembler.pending_samples < FRAME_SAMPLES


def protocol(data: bytes) -> None:
    """Any messages are events, or raise ProtocolError with a close code and a sentence."""
    kyutai = KyutaiProtocol()
    for number, part in enumerate(pieces(data)):
        message = b"\1" + page(part[1:]) if part[:1] == b"\x80" else part
        try:
            events = kyutai.receive(message if number % 8 != 7 else message.decode(errors="replace"))
        except ProtocolError as error:
            assert error.close_code in (1003, 1007, 1008, 1009) and str(error).endswith(".")
            return
        assert len(events) <= 1
        for event in events:
            match event:
                case AudioReceived(packets):
                    assert sum(map(packet_samples, packets)) <= MAX_MESSAGE_AUDIO_S * 24_000
                    assert sum(map(len, packets)) <= MAX_MESSAGE_BYTES + MAX_OGG_PACKET_BYTES
                case Malformed(reason):
                    assert reason
                case _:
                    pass
        assert len(kyutai._undecided) < 4


_NAMES = [*SessionParams.model_fields, "seed", "unknown"]


def query(data: bytes) -> None:
    """Any query is parameters within their bounds, or raises BadParameter with the name of one."""
    fields = pieces(data[1:])
    if data[:1] < b"\x80":
        asked = QueryParams(data[1:])
    else:
        asked = QueryParams(
            [(_NAMES[part[0] % len(_NAMES)], part[1:].decode(errors="replace")) for part in fields if part]
        )
    try:
        params = SessionParams.from_query(asked)
    except BadParameter as error:
        assert str(error).endswith(".") and str(error).split()[0] in {*SessionParams.model_fields, "seed"}
        return
    assert 0 <= params.text_temperature <= 2 and 0 <= params.audio_topk <= 500 and 0 <= params.text_seed < 2**63
