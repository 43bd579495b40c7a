"""The messages of a call, its address, and the round trip measured on them."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from server.access.tokens import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from server.audio.framing import FRAME_S, PACKET_SAMPLES, SAMPLE_RATE_HZ
from server.dialects.kyutai_protocol import Kind
from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PROTOCOL = "/client/net/protocol.js"
DECODE = """const {packet, ...rest} = m.decode(Uint8Array.from(bytes).buffer);
return packet ? {...rest, packet: [...packet]} : rest;"""


async def test_protocol_names_its_constants_as_the_server_does(js: Js):
    assert await js(PROTOCOL, "return m.Kind") == {kind.name: kind.value for kind in Kind}
    assert await js(PROTOCOL, "return [m.SUBPROTOCOL, m.TOKEN_SUBPROTOCOL]") == [SUBPROTOCOL, TOKEN_SUBPROTOCOL]
    lengths_ms = [1000 * PACKET_SAMPLES / SAMPLE_RATE_HZ, 1000 * FRAME_S]
    assert await js(PROTOCOL, "return [m.PACKET_MS, m.FRAME_MS]") == lengths_ms


async def test_encode_audio_puts_the_kind_before_the_packet(js: Js):
    assert await js(PROTOCOL, "return [...m.encodeAudio(Uint8Array.of(7, 8, 9))]") == [1, 7, 8, 9]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x00", {"kind": "handshake"}),
        (b"\x00" + bytes(8), {"kind": "handshake"}),
        (b"\x01\xfc\xff", {"kind": "audio", "packet": [0xFC, 0xFF]}),
        (b"\x01", {"kind": "ignored"}),
        ("\x02 héé".encode(), {"kind": "text", "text": " héé"}),
        (b"\x02\xff", {"kind": "text", "text": "�"}),
        (b'\x04{"type":"skip","frames":2}', {"kind": "metadata", "event": {"type": "skip", "frames": 2}}),
        (b"\x04{", {"kind": "ignored"}),
        (b"\x04null", {"kind": "ignored"}),
        (b'\x04{"type":3}', {"kind": "ignored"}),
        (b"\x05full", {"kind": "error", "text": "full"}),
        (b"\x06", {"kind": "ping"}),
        (b"\x07x", {"kind": "ignored"}),
        (b"\xff", {"kind": "ignored"}),
        (b"", {"kind": "ignored"}),
    ],
)
async def test_decode_reads_or_ignores_every_message(js: Js, message: bytes, expected: dict[str, object]):
    assert await js(PROTOCOL, DECODE, bytes=list(message)) == expected


@pytest.mark.parametrize(
    ("base", "socket"),
    [
        ("http://localhost:8998/", "ws://localhost:8998/api/chat?events=1"),
        ("https://a.example/", "wss://a.example/api/chat?events=1"),
        ("https://a.example/talk/index.html?x=1#y", "wss://a.example/talk/api/chat?events=1"),
    ],
)
async def test_chat_url_is_relative_to_the_servers_address(js: Js, base: str, socket: str):
    assert await js("/client/net/server.js", "return m.chatUrl(base)", base=base) == socket


async def test_chat_url_names_choices_as_the_server_does_and_leaves_empty_ones_out(js: Js):
    choices = {"voice": "NATF2 é", "prompt": "Be brief & kind.", "seed": 0, "text_topk": None, "audio_topk": ""}
    url = await js("/client/net/server.js", "return m.chatUrl('http://a/', choices, 'T+1')", choices=choices)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query == {
        "events": "1", "voice_prompt": "NATF2 é", "text_prompt": "Be brief & kind.", "seed": "0", "resume": "T+1",
    }  # fmt: skip


TRIP = """
const trip = new m.RoundTrip(), seen = [];
for (const [what, atMs] of JSON.parse(story)) {
  if (what === 'ask') for (let i = 0; i < 4; i++) trip.sent(atMs - 60 + 20 * i);
  else if (what === 'answer') for (let i = 0; i < 4; i++) trip.answered(atMs + i);
  else trip.skipped(atMs);
  seen.push(trip.ms);
}
return seen;
"""


async def trip(js: Js, *story: tuple[str, float]) -> list[float | None]:
    return await js("/client/net/round-trip.js", TRIP, story=json.dumps(story))


async def test_round_trip_is_from_a_frames_last_packet_to_its_answer(js: Js):
    assert (await trip(js, ("ask", 100), ("answer", 130)))[-1] == 30
    assert (await trip(js, ("ask", 100), ("ask", 180), ("ask", 260), ("answer", 290)))[-1] == 190


async def test_round_trip_includes_a_model_that_speaks_one_frame_late(js: Js):
    story = [step for i in range(20) for step in ((("ask", 80 * i)), (("answer", 80 * i + 35)))]
    story.remove(("answer", 35))
    assert (await trip(js, *story))[-1] == 80 + 35


async def test_round_trip_excludes_skipped_frames(js: Js):
    story = [("ask", 0), ("ask", 80), ("ask", 160), ("skip", 2), ("answer", 190)]
    assert (await trip(js, *story))[-1] == 30


async def test_round_trip_survives_answers_to_no_frame(js: Js):
    story = [("answer", 5), ("ask", 80), ("answer", 110), ("ask", 160), ("answer", 190)]
    assert (await trip(js, *story))[-1] == 30


async def test_round_trip_is_null_before_the_first_answer(js: Js):
    assert await trip(js, ("ask", 0)) == [None]
