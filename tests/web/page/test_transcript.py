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


# What models say, in their own pieces, and what must be seen, copied, saved and read aloud.
SPOKEN = (
    " It",
    " costs",
    " 3",
    ".",
    "5",
    " dollars",
    " in",
    " the",
    " U",
    ".",
    "S",
    ".",
    " today",
    ".",
    " See",
    " kyutai",
    ".",
    "org",
)
WRITTEN = "It costs 3.5 dollars in the U.S. today. See kyutai.org"


def spoken(every_s: float = 0.2) -> list[tuple[str, float]]:
    return [(text, index * every_s) for index, text in enumerate(SPOKEN)]


@pytest.mark.parametrize("every_s", [0.0, 0.08, 0.24, 0.6])
async def test_numbers_names_and_addresses_are_saved_as_they_were_seen(js: Js, every_s: float):
    record = {**RECORD, "pieces": [{"atS": at, "text": text} for text, at in spoken(every_s)]}
    assert await js("/page/ui/formats.js", "return m.toText(record)", record=record) == WRITTEN + "\n"
    phrases = json.loads(await js("/page/ui/formats.js", "return m.toJson(record)", record=record))["phrases"]
    assert " ".join(phrase["text"] for phrase in phrases) == WRITTEN
    cues = [part.strip().splitlines()[-1] for part in (await vtt(js, record)).split("\n\n")[1:]]
    assert " ".join(cue.removeprefix("<v Parley>") for cue in cues) == WRITTEN


async def vtt(js: Js, record: dict) -> str:
    return await js("/page/ui/formats.js", "return m.toVtt(record)", record=record)


async def test_numbers_names_and_addresses_are_read_aloud_whole(js: Js):
    (paragraph,) = await transcribe(js, *spoken(), finish=True)
    assert [text for _, text in paragraph] == [WRITTEN.removesuffix(" See kyutai.org"), " See kyutai.org", ""]


async def test_pieces_of_a_language_without_spaces_get_none(js: Js):
    pieces = [("你好", 0), ("。", 0.3), ("再见", 0.7), ("。", 1.0)]
    record = {**RECORD, "pieces": [{"atS": at, "text": text} for text, at in pieces]}
    assert await js("/page/ui/formats.js", "return m.toText(record)", record=record) == "你好。再见。\n"


async def test_interrupted_utterance_ends_with_a_dash_and_a_new_line(js: Js):
    pieces = [
        (" Rivers", 0),
        (" never", 0.3),
        (" hur", 0.6),
        (" My", 1.6),
        (" name", 1.8),
        (" is", 2),
        (" Parley.", 2.2),
    ]
    told = await transcribe(js, *pieces, finish=True)
    assert ["".join(text for _, text in paragraph) for paragraph in told] == ["Rivers never hur—", "My name is Parley."]
    record = {**RECORD, "pieces": [{"atS": at, "text": text} for text, at in pieces]}
    text = await js("/page/ui/formats.js", "return m.toText(record)", record=record)
    assert text == "Rivers never hur—\n\nMy name is Parley.\n"


async def test_slow_speaker_is_not_taken_for_an_interrupted_one(js: Js):
    told = await transcribe(js, (" It", 0), (" is", 0.2), (" very", 1.3), (" cold.", 2.2), (" I", 3.2), finish=True)
    assert ["".join(text for _, text in paragraph) for paragraph in told] == ["It is very cold. I"]


async def test_line_break_of_the_model_is_a_space(js: Js):
    told = await transcribe(js, (" One", 0), ("\n", 0.1), ("two", 0.2), finish=True)
    assert told[0][0][1] == "One two"


async def test_subtitles_have_length_and_do_not_overlap(js: Js):
    pieces = [(" Hi", 1), (".", 1), (" You", 1), (".", 1.1), (" Fine", 1.2), (".", 1.3), (" Good", 2.4), (".", 2.4)]
    record = {**RECORD, "pieces": [{"atS": at, "text": text} for text, at in pieces]}
    phrases = json.loads(await js("/page/ui/formats.js", "return m.toJson(record)", record=record))["phrases"]
    assert [phrase["text"] for phrase in phrases] == ["Hi. You. Fine.", "Good."]
    assert all(phrase["end_s"] - phrase["start_s"] >= 0.4 for phrase in phrases)


async def test_hours_of_subtitles_do_not_wrap_after_a_day(js: Js):
    record = {**RECORD, "pieces": [{"atS": 26 * 3600 + 61.5, "text": " Still here."}]}
    assert "26:01:01.500 --> 26:01:02.100" in await vtt(js, record)


async def test_to_vtt_escapes_the_text(js: Js):
    told = await js("/page/ui/formats.js", "return m.toVtt(record)", record=RECORD)
    head, *cues = told.strip().split("\n\n")
    assert head == "WEBVTT"
    assert cues[0] == "00:00:00.000 --> 00:00:00.500\n<v Parley>Hello."
    assert cues[1].endswith("<v Parley>Is 1 &lt; 2 &amp; so on?")
    assert len(cues) == 4
