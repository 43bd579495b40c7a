"""Where the fuzzer begins: sound input, which it then spoils."""

from __future__ import annotations

import struct

from server.audio.ogg import OggOpusWriter
from server.audio.opus import OpusEncoder
from tests.server.phone import speech


def _piece(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def _sound_page(flags: int, body: bytes) -> bytes:
    """What `parsers.page` makes a page of."""
    lacing = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    return bytes([flags, 1, len(lacing)]) + lacing + body


def seeds() -> dict[str, list[bytes]]:
    """For each target a few inputs."""
    encoder, writer = OpusEncoder(), OggOpusWriter()
    packets = [packet for frame in speech(2) for packet in encoder.encode(frame)]
    stream = [writer.headers(), writer.page(packets[:4]), writer.page(packets[4:])]
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, 24_000, 0, 0)
    pages = [_sound_page(2, head), *(_sound_page(flags, packets[0]) for flags in (0, 0, 1))]
    raw = [b"\1" + packet for packet in packets[:4]]
    ogg = [b"\1" + message for message in stream]
    made = [b"\x80" + made for made in pages]
    others = [b"\4" + b'{"a": 1}', b"\3\0", b"\6", b"\2hi", b"\0"]
    query = b"text_temperature=0.7&text_topk=25&seed=5&events=1&max_steps=4&pad_mult=-1.5&repetition_penalty=1.1"
    return {
        "ogg": [b"\0" + b"".join(stream), b"\x80" + b"".join(map(_piece, pages))],
        "opus": [b"\0" + _piece(packet) for packet in packets] + [b"\xc0" + b"".join(map(_piece, packets[:3]))],
        "wire": [b"".join(map(_piece, messages)) for messages in (raw, ogg, made, others)],
        "query": [b"\0" + query, b"\0seed=-1", b"\x80" + b"".join(_piece(bytes([at]) + b"1") for at in range(12))],
        "call": [b"\0" + b"".join(map(_piece, [query, *messages])) for messages in (raw, ogg, made, others)],
        "path": [
            b"",
            b"main.js",
            b"api/info",
            b"../pyproject.toml",
            b"%2e%2e/x",
            b"ui/../main.js?x=1",
            b"\0",
            b"readyz",
        ],
    }
