"""Fuzz targets that are pure: what every parser of the server promises of any bytes at all.

A target takes bytes and returns, or raises what is a bug. Much of an input says how the rest is used, since no mutation
finds a checksum: `pages` are made sound before they are read.
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
    """Cut: a length in two bytes, so many bytes of it, and so on."""
    found: list[bytes] = []
    at = 0
    while at + 2 <= len(data):
        (length,) = struct.unpack_from("<H", data, at)
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def page(data: bytes) -> bytes:
    """A page that is whole but for what `data` wants otherwise: flags, serial, how many segments, then all the rest."""
    flags, serial, segments = struct.unpack_from("<BBB", data.ljust(3, b"\0"))
    lacing, body = data[3 : 3 + segments], data[3 + segments :]
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags & 7, 0, serial & 3, 0, 0, len(lacing))
    whole = bytearray(head + lacing + body.ljust(sum(lacing), b"\0"))
    whole[22:26] = page_crc(whole).to_bytes(4, "little")
    return bytes(whole)


def ogg(data: bytes) -> None:
    """Any bytes are packets or an OggError, cut anywhere the same, and nothing piles up."""
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
    """All packets; None after an error."""
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


_ONE_CALLER = OpusDecoder(), FrameAssembler()  # who sends everything, one after the other


def opus(data: bytes) -> None:
    """Any packet is sound within bounds, as long as it says it is, or UndecodablePacket; so is what comes after."""
    decoder, assembler = _ONE_CALLER if data[:1] < b"\xc0" else (OpusDecoder(), FrameAssembler())
    for packet in pieces(data[1:]) or [data[1:]]:
        samples = packet_samples(packet)
        assert 0 <= samples <= MAX_PACKET_SAMPLES
        try:
            pcm = decoder.decode(packet)
        except UndecodablePacket:
            pcm = decoder.conceal(samples)
        assert len(pcm) == samples and np.abs(pcm).max(initial=0.0) <= 1.0  # NaN is not
        for frame in assembler.push(pcm):
            assert frame.shape == (FRAME_SAMPLES,)
        assert assembler.pending_samples < FRAME_SAMPLES


def wire(data: bytes) -> None:
    """Any messages are events or a ProtocolError with a close code and a sentence."""
    protocol = KyutaiProtocol()
    for number, part in enumerate(pieces(data)):
        message = b"\1" + page(part[1:]) if part[:1] == b"\x80" else part
        try:
            events = protocol.receive(message if number % 8 != 7 else message.decode(errors="replace"))
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
        assert len(protocol._undecided) < 4


_NAMES = [*SessionParams.model_fields, "seed", "unknown"]


def query(data: bytes) -> None:
    """Any query is parameters within their bounds, or a BadParameter that says which is not."""
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
