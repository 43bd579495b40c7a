"""The wire's bytes, and the round trip counted on them."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PROTOCOL = "/net/protocol.js"
DECODE = """const {packet, ...rest} = m.decode(Uint8Array.from(bytes).buffer);
return packet ? {...rest, packet: [...packet]} : rest;"""


async def test_audio_is_one_packet_behind_its_kind(js: Js):
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
        (b'\x04{"type":"skip","frames":2}', {"kind": "event", "event": {"type": "skip", "frames": 2}}),
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
async def test_every_message_is_understood_or_ignored(js: Js, message: bytes, expected: dict[str, object]):
    assert await js(PROTOCOL, DECODE, bytes=list(message)) == expected


@pytest.mark.parametrize(
    ("base", "socket"),
    [
        ("http://localhost:8998/", "ws://localhost:8998/api/chat?events=1"),
        ("https://a.example/", "wss://a.example/api/chat?events=1"),
        ("https://a.example/talk/index.html?x=1#y", "wss://a.example/talk/api/chat?events=1"),
    ],
)
async def test_a_call_is_dialled_beside_the_page(js: Js, base: str, socket: str):
    assert await js("/net/server.js", "return m.chatUrl(base)", base=base) == socket


async def test_choices_are_dialled_in_the_protocol_s_names_and_what_is_empty_is_left_out(js: Js):
    choices = {"voice": "NATF2 é", "prompt": "Be brief & kind.", "seed": 0, "text_topk": None, "audio_topk": ""}
    url = await js("/net/server.js", "return m.chatUrl('http://a/', choices, 'T+1')", choices=choices)
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
    return await js("/net/round-trip.js", TRIP, story=json.dumps(story))


async def test_a_round_trip_is_from_the_last_packet_of_a_frame_to_its_answer(js: Js):
    assert (await trip(js, ("ask", 100), ("answer", 130)))[-1] == 30
    assert (await trip(js, ("ask", 100), ("ask", 180), ("ask", 260), ("answer", 290)))[-1] == 190


async def test_a_model_that_speaks_a_frame_late_is_counted_with_its_delay(js: Js):
    story = [step for i in range(20) for step in ((("ask", 80 * i)), (("answer", 80 * i + 35)))]
    story.remove(("answer", 35))
    assert (await trip(js, *story))[-1] == 80 + 35


async def test_skipped_frames_do_not_count_as_delay(js: Js):
    story = [("ask", 0), ("ask", 80), ("ask", 160), ("skip", 2), ("answer", 190)]
    assert (await trip(js, *story))[-1] == 30


async def test_answers_nobody_asked_for_do_not_break_it(js: Js):
    story = [("answer", 5), ("ask", 80), ("answer", 110), ("ask", 160), ("answer", 190)]
    assert (await trip(js, *story))[-1] == 30


async def test_before_the_first_answer_there_is_no_figure(js: Js):
    assert await trip(js, ("ask", 0)) == [None]
