"""The inputs from which the fuzzer starts: valid ones, which it then mutates."""

from __future__ import annotations

import json
import struct
import time

from server.audio.ogg import OggOpusWriter
from server.audio.opus import OpusEncoder
from tests.fuzz.access import NOW, SEED_JTI, TOKEN, sign
from tests.fuzz.sequences import Action
from tests.server.chat_client import speech


def _piece(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def _valid_page(flags: int, body: bytes) -> bytes:
    """The input of `parsers.page` for a valid page."""
    lacing = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    return bytes([flags, 1, len(lacing)]) + lacing + body


def _request(choice: bytes, *parts: bytes) -> bytes:
    """The input of `access.access`: settings and path, then query, subprotocols and headers."""
    return choice + b"".join(map(_piece, parts))


def _actions(script: str) -> bytes:
    """The bytes of `sequences.Action`s, each `name` or `name+argument`."""
    words = [word.partition("+") for word in script.split()]
    return bytes(Action[name.upper()] | int(argument or 0) << 3 for name, _, argument in words)


def seeds() -> dict[str, list[bytes]]:
    """A few inputs for each target."""
    encoder, writer = OpusEncoder(), OggOpusWriter()
    packets = [packet for frame in speech(2) for packet in encoder.encode(frame)]
    stream = [writer.headers(), writer.page(packets[:4]), writer.page(packets[4:])]
    opus_head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, 24_000, 0, 0)
    pages = [_valid_page(2, opus_head), *(_valid_page(flags, packets[0]) for flags in (0, 0, 1))]
    raw = [b"\1" + packet for packet in packets[:4]]
    ogg = [b"\1" + message for message in stream]
    assembled = [b"\x80" + page for page in pages]
    others = [b"\4" + b'{"a": 1}', b"\3\0", b"\6", b"\2hi", b"\0"]
    query = b"text_temperature=0.7&text_topk=25&seed=5&events=1&max_steps=4&pad_mult=-1.5&repetition_penalty=1.1"
    jwt = b'{"alg": "HS256", "typ": "JWT"}'
    claims = b'{"jti": "a", "exp": %s60, "sub": "ann", "max_call_s": 90}' % NOW
    signed = sign(jwt, json.dumps({"jti": SEED_JTI, "exp": time.time() + 3500}).encode()).encode()
    operator_token = TOKEN.encode()
    return {
        "token": [
            *(flag + _piece(jwt) + _piece(claims) for flag in (b"\0", b"\x80")),
            b"\0" + _piece(b'{"alg": "none"}') + _piece(claims),
            *(flag + signed for flag in (b"\xc0", b"\xff")),
        ],
        "access": [
            _request(b"\0\x80", b"events=1&resume=x", b"", b"localhost:8998", b"http://localhost:8998"),
            _request(b"\0\0", b"", b"", b"evil.example", b"http://evil.example"),
            _request(b"\1\0", b"events=1&token=" + operator_token, b"", b"talk.example"),
            _request(
                b"\1\x80", b"", b"parley, parley.token." + operator_token, b"talk.example", b"https://talk.example"
            ),
            _request(b"\2\1", b"", b"", b"talk.example", b"", b"Bearer " + signed),
            _request(b"\2\x80", b"events=1&resume=x", b"parley.token." + signed, b"talk.example"),
            _request(b"\0\x40", b"", b"", b"localhost", b"", b"", b"127.0.0.1, [2001:db8::1]:443, 10.0.0.1"),
            _request(b"\3\2", b"", b"", b"127.0.0.1", b"", b"Bearer " + operator_token),
        ],
        # A call; a lost call that resumes; a queue and an eviction; NaN; a call that reaches its limit.
        "sequence": [
            _actions("call+1 tick tick read send tick tick read"),
            _actions(
                "call+1 tick tick read send tick tick hang_up+16 resume+1 read send tick tick "
                "resume+1 resume+2 read read"
            ),
            _actions(
                "call+1 call+1 call+1 call tick tick read read+1 send send+1 tick tick "
                "hang_up+16 hang_up+16 tick wait+10 resume+1 resume+2"
            ),
            _actions("call+1 tick tick read break send tick tick break+2 read"),
            _actions("call+5 tick tick read send tick send tick tick break call+1 tick"),
        ],
        "ogg": [b"\0" + b"".join(stream), b"\x80" + b"".join(map(_piece, pages))],
        "opus": [b"\0" + _piece(packet) for packet in packets] + [b"\xc0" + b"".join(map(_piece, packets[:3]))],
        "protocol": [b"".join(map(_piece, messages)) for messages in (raw, ogg, assembled, others)],
        "query": [b"\0" + query, b"\0seed=-1", b"\x80" + b"".join(_piece(bytes([at]) + b"1") for at in range(12))],
        "call": [b"\0" + b"".join(map(_piece, [query, *messages])) for messages in (raw, ogg, assembled, others)],
        "path": [
            b"",
            b"page/main.js",
            b"api/info",
            b"../pyproject.toml",
            b"%2e%2e/x",
            b"client/../page/main.js?x=1",
            b"\0",
            b"readyz",
            b"api/chat",
            b"metrics%0A",
            b"/metrics//",
            b"api%2finfo",
            b"page/%5c/..%0d/main.js",
        ],
    }
