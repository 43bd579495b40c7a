"""Where the fuzzer begins: sound input, which it then spoils."""

from __future__ import annotations

import json
import struct
import time

from server.audio.ogg import OggOpusWriter
from server.audio.opus import OpusEncoder
from tests.fuzz.gates import NOW, SEED_JTI, TOKEN, sign
from tests.server.chat_client import speech


def _piece(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def _sound_page(flags: int, body: bytes) -> bytes:
    """What `parsers.page` makes a page of."""
    lacing = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    return bytes([flags, 1, len(lacing)]) + lacing + body


def _request(asks: bytes, *parts: bytes) -> bytes:
    """What `gates.door` makes a request of: the house and the path, then query, subprotocols, host, origin, bearer."""
    return asks + b"".join(map(_piece, parts))


def _happenings(script: str) -> bytes:
    """What `lives.lives` makes them happen by: `what+arg` each."""
    pairs = [word.partition("+") for word in script.split()]
    return bytes(int(what) | int(arg or 0) << 3 for what, _, arg in pairs)


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
    jwt = b'{"alg": "HS256", "typ": "JWT"}'
    claims = b'{"jti": "a", "exp": %s60, "sub": "ann", "max_call_s": 90}' % NOW
    signed = sign(jwt, json.dumps({"jti": SEED_JTI, "exp": time.time() + 3500}).encode()).encode()
    shown = TOKEN.encode()
    return {
        "token": [
            *(flag + _piece(jwt) + _piece(claims) for flag in (b"\0", b"\x80")),
            b"\0" + _piece(b'{"alg": "none"}') + _piece(claims),
            *(flag + signed for flag in (b"\xc0", b"\xff")),
        ],
        "door": [
            _request(b"\0\x80", b"events=1&resume=x", b"", b"localhost:8998", b"http://localhost:8998"),
            _request(b"\0\0", b"", b"", b"evil.example", b"http://evil.example"),
            _request(b"\1\0", b"events=1&token=" + shown, b"", b"talk.example"),
            _request(b"\1\x80", b"", b"parley, parley.token." + shown, b"talk.example", b"https://talk.example"),
            _request(b"\2\1", b"", b"", b"talk.example", b"", b"Bearer " + signed),
            _request(b"\2\x80", b"events=1&resume=x", b"parley.token." + signed, b"talk.example"),
            _request(b"\3\2", b"", b"", b"127.0.0.1", b"", b"Bearer " + shown),
        ],
        # One is seated, greeted and heard; one vanishes and is back; some wait, and one is evicted; one breaks.
        "lives": [
            _happenings("0+1 5 5 6 1 5 5 6"),
            _happenings("0+1 5 5 6 1 5 5 2+16 3+1 6 1 5 5 3+1 3+2 6 6"),
            _happenings("0+1 0+1 0+1 0 5 5 6 6+1 1 1+1 5 5 2+16 2+16 5 4+10 3+1 3+2"),
            _happenings("0+1 5 5 6 7 1 5 5 7+2 6"),
            _happenings("0+5 5 5 6 1 5 1 5 5 7 0+1 5"),
        ],
        "ogg": [b"\0" + b"".join(stream), b"\x80" + b"".join(map(_piece, pages))],
        "opus": [b"\0" + _piece(packet) for packet in packets] + [b"\xc0" + b"".join(map(_piece, packets[:3]))],
        "wire": [b"".join(map(_piece, messages)) for messages in (raw, ogg, made, others)],
        "query": [b"\0" + query, b"\0seed=-1", b"\x80" + b"".join(_piece(bytes([at]) + b"1") for at in range(12))],
        "call": [b"\0" + b"".join(map(_piece, [query, *messages])) for messages in (raw, ogg, made, others)],
        "path": [
            b"",
            b"page/main.js",
            b"api/info",
            b"../pyproject.toml",
            b"%2e%2e/x",
            b"client/../page/main.js?x=1",
            b"\0",
            b"readyz",
        ],
    }
