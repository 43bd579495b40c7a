"""What people are told, and the transcript they read or have read to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WEB = Path(__file__).parents[2] / "web"
SENTENCES = "/ui/sentences.js"


def failure_codes() -> list[str]:
    typedef = (WEB / "failure.js").read_text().split("FailureCode", 1)[0]
    return re.findall(r"'([a-z-]+)'", typedef)


async def test_there_are_failures_to_explain():
    assert {"insecure", "microphone-denied", "full", "connection-lost"} <= set(failure_codes())


@pytest.mark.parametrize("code", failure_codes())
async def test_every_failure_has_a_sentence_and_something_to_do(js: Js, code: str):
    told = await js(SENTENCES, "return m.explain({code, detail: ''})", code=code)
    assert re.fullmatch(r"[A-Z].{15,90}\.", told["title"])
    assert re.fullmatch(r"[A-Z].{15,120}\.", told["advice"])


async def test_the_server_s_own_words_are_preferred_and_tidied(js: Js):
    told = await js(SENTENCES, "return m.explain({code: 'refused', detail: ' no audio came in 30 s '})")
    assert told["title"] == "No audio came in 30 s."


async def test_a_browser_s_words_do_not_take_the_place_of_a_sentence(js: Js):
    told = await js(SENTENCES, "return m.explain({code: 'broken', detail: 'TypeError: x'})")
    assert told["title"] == "Something in this page or browser broke."
    assert "TypeError: x" in told["advice"]


@pytest.mark.parametrize(
    ("position", "ahead_s", "expected"),
    [
        (1, 0, "You are next in line. Stay here, the call starts by itself."),
        (3, 0, "You are number 3 in line. Stay here, the call starts by itself."),
        (2, 40, "You are number 2 in line, about 40 seconds to go."),
        (2, 150, "You are number 2 in line, about 3 minutes to go."),
        (0, 0, "All lines are busy. You are in line."),
    ],
)
async def test_the_place_in_line(js: Js, position: int, ahead_s: int, expected: str):
    assert await js(SENTENCES, "return m.inLine(position, ahead)", position=position, ahead=ahead_s) == expected


TRANSCRIPT = """
const log = document.createElement('div');
const transcript = new m.Transcript(log);
for (const [text, atMs] of pieces) transcript.add(text, atMs);
if (finish) transcript.finish();
return [...log.children].map((p) => [...p.children].map((span) => [span.ariaLive, span.textContent]));
"""


async def transcribe(js: Js, *pieces: tuple[str, int], finish: bool = False):
    return await js("/ui/transcript.js", TRANSCRIPT, pieces=pieces, finish=finish)


async def test_a_phrase_is_announced_when_it_is_whole(js: Js):
    pieces = ((" Hel", 0), ("lo", 80), (" there", 160), (".", 240), (" I", 320))
    assert await transcribe(js, *pieces) == [[[None, "Hello there."], ["off", " I"]]]


async def test_the_end_of_a_call_ends_the_phrase(js: Js):
    assert await transcribe(js, (" Hello", 0), finish=True) == [[[None, "Hello"], ["off", ""]]]


async def test_a_pause_opens_a_paragraph(js: Js):
    told = await transcribe(js, ("One.", 0), (" Two.", 4000), finish=True)
    assert ["".join(text for _, text in paragraph) for paragraph in told] == ["One.", "Two."]


async def test_bytes_without_a_shape_are_not_shown_and_markup_is_only_text(js: Js):
    told = await transcribe(js, ("a\x00\x1bb", 0), ("<b>\u202f</b>", 80), finish=True)
    assert told[0][0] == [None, "ab<b>\u202f</b>"]
