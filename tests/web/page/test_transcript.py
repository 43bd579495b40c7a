"""The transcript on the page, and as files."""

from __future__ import annotations

import json

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TRANSCRIPT = """
const log = document.createElement('div');
const transcript = new m.Transcript(log);
for (const [text, atS] of pieces) transcript.add(text, atS);
if (finish) transcript.finish();
return [...log.children].map((p) => [...p.children].map((span) => [span.ariaLive, span.textContent]));
"""


async def transcribe(js: Js, *pieces: tuple[str, float], finish: bool = False):
    return await js("/page/ui/transcript.js", TRANSCRIPT, pieces=pieces, finish=finish)


async def test_transcript_announces_a_phrase_when_it_is_complete(js: Js):
    pieces = ((" Hel", 0), ("lo", 0.08), (" there", 0.16), (".", 0.24), (" I", 0.32))
    assert await transcribe(js, *pieces) == [[[None, "Hello there."], ["off", " I"]]]


async def test_transcript_finish_ends_the_phrase(js: Js):
    assert await transcribe(js, (" Hello", 0), finish=True) == [[[None, "Hello"], ["off", ""]]]


async def test_transcript_starts_a_paragraph_after_a_pause(js: Js):
    told = await transcribe(js, ("One.", 0), (" Two.", 4), finish=True)
    assert ["".join(text for _, text in paragraph) for paragraph in told] == ["One.", "Two."]


async def test_transcript_drops_control_characters_and_shows_markup_as_text(js: Js):
    told = await transcribe(js, ("a\x00\x1bb", 0), ("<b>\u202f</b>", 0.08), finish=True)
    assert told[0][0] == [None, "ab<b>\u202f</b>"]


async def test_transcript_notes_a_lost_connection_where_it_happened(js: Js):
    body = """
    const log = document.createElement('div'), transcript = new m.Transcript(log);
    transcript.add('One', 0); transcript.addGap(3, 2.4);
    transcript.add(' two', 3.1);
    return [[...log.children].map((p) => p.textContent), transcript.gaps];
    """
    told, gaps = await js("/page/ui/transcript.js", body)
    assert told == [
        "One",
        "The connection was lost for 2 s.",
        "two",
    ]
    assert gaps == [{"atS": 3, "lostS": 2.4}]


async def test_transcript_reports_changes_when_a_phrase_is_finished(js: Js):
    body = """
    const log = document.createElement('div'), transcript = new m.Transcript(log), seen = [];
    transcript.onChange = () => seen.push(log.querySelectorAll('span').length);
    transcript.add('One', 0); transcript.finish(); transcript.finish(); transcript.addGap(3, 2.4);
    return seen;
    """
    assert await js("/page/ui/transcript.js", body) == [1, 2, 2]


# A transcript with times: two phrases, a pause that ends a third, and a new paragraph.
PIECES = [(-0.1, "Hel"), (0.1, "lo."), (0.5, " Is 1"), (0.7, " < 2"), (0.9, " & so on?"), (4.2, " Yes"), (6.0, " no")]
RECORD = {
    "model": "moshi",
    "call": "c1",
    "seed": 7,
    "startedAt": "2026-01-02T03:04:05.000Z",
    "pieces": [{"atS": at, "text": text} for at, text in PIECES],
    "gaps": [{"atS": 3, "lostS": 0.5}],
}


async def test_to_text_has_a_paragraph_for_each_pause(js: Js):
    text = await js("/page/ui/formats.js", "return m.toText(record)", record=RECORD)
    assert text == "Hello. Is 1 < 2 & so on?\n\nYes no\n"


async def test_to_json_has_times_in_order(js: Js):
    told = json.loads(await js("/page/ui/formats.js", "return m.toJson(record)", record=RECORD))
    assert (told["model"], told["call"], told["seed"], told["started_at"]) == ("moshi", "c1", 7, RECORD["startedAt"])
    assert [piece["text"] for piece in told["pieces"]] == [text for _, text in PIECES]
    assert [phrase["text"] for phrase in told["phrases"]] == ["Hello.", "Is 1 < 2 & so on?", "Yes", "no"]
    assert told["gaps"] == [{"at_s": 3, "lost_s": 0.5}]
    times = [t for phrase in told["phrases"] for t in (phrase["start_s"], phrase["end_s"])]
    assert times == sorted(times) and times[0] == 0


async def test_to_vtt_escapes_the_text(js: Js):
    told = await js("/page/ui/formats.js", "return m.toVtt(record)", record=RECORD)
    head, *cues = told.strip().split("\n\n")
    assert head == "WEBVTT"
    assert cues[0] == "00:00:00.000 --> 00:00:00.500\n<v Parley>Hello."
    assert cues[1].endswith("<v Parley>Is 1 &lt; 2 &amp; so on?")
    assert len(cues) == 4
