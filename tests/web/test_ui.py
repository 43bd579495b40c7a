"""What people are told, the transcript they read or have read to them, and what they take away from a call."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import re
import wave
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
for (const [text, atS] of pieces) transcript.add(text, atS);
if (finish) transcript.finish();
return [...log.children].map((p) => [...p.children].map((span) => [span.ariaLive, span.textContent]));
"""


async def transcribe(js: Js, *pieces: tuple[str, float], finish: bool = False):
    return await js("/ui/transcript.js", TRANSCRIPT, pieces=pieces, finish=finish)


async def test_a_phrase_is_announced_when_it_is_whole(js: Js):
    pieces = ((" Hel", 0), ("lo", 0.08), (" there", 0.16), (".", 0.24), (" I", 0.32))
    assert await transcribe(js, *pieces) == [[[None, "Hello there."], ["off", " I"]]]


async def test_the_end_of_a_call_ends_the_phrase(js: Js):
    assert await transcribe(js, (" Hello", 0), finish=True) == [[[None, "Hello"], ["off", ""]]]


async def test_a_pause_opens_a_paragraph(js: Js):
    told = await transcribe(js, ("One.", 0), (" Two.", 4), finish=True)
    assert ["".join(text for _, text in paragraph) for paragraph in told] == ["One.", "Two."]


async def test_bytes_without_a_shape_are_not_shown_and_markup_is_only_text(js: Js):
    told = await transcribe(js, ("a\x00\x1bb", 0), ("<b>\u202f</b>", 0.08), finish=True)
    assert told[0][0] == [None, "ab<b>\u202f</b>"]


async def test_a_lost_connection_is_said_where_it_happened(js: Js):
    body = """
    const log = document.createElement('div'), transcript = new m.Transcript(log);
    transcript.add('One', 0); transcript.addGap(3, 2.4);
    transcript.add(' two', 3.1);
    return [[...log.children].map((p) => p.textContent), transcript.gaps];
    """
    told, gaps = await js("/ui/transcript.js", body)
    assert told == [
        "One",
        "The connection was lost for 2 s.",
        "two",
    ]
    assert gaps == [{"atS": 3, "lostS": 2.4}]


async def test_who_searches_is_told_when_a_pause_moves_the_words(js: Js):
    body = """
    const log = document.createElement('div'), transcript = new m.Transcript(log), seen = [];
    transcript.onChange = () => seen.push(log.querySelectorAll('span').length);
    transcript.add('One', 0); transcript.finish(); transcript.finish(); transcript.addGap(3, 2.4);
    return seen;
    """
    assert await js("/ui/transcript.js", body) == [1, 2, 2]


async def test_what_stays_true_is_read_aloud_once(js: Js):
    body = """
    const line = document.createElement('p'), card = document.createElement('div');
    card.hidden = true;
    card.innerHTML = '<p data-title></p><p data-advice></p>';
    const status = new m.StatusView(line, card), seen = [];
    const observer = new MutationObserver((changes) => seen.push(...changes.map(({ target }) => target)));
    for (const element of [line, card]) observer.observe(element, { childList: true, subtree: true, attributes: true });
    const changed = async (tell) => { tell(); await 0; return Boolean(seen.splice(0).length); };
    const says = [() => status.say('Loading.'), () => status.fail({ title: 'Gone.', advice: 'Wait.' })];
    const told = [];
    for (const tell of [says[0], says[0], says[1], says[1], says[0], says[0]]) told.push(await changed(tell));
    return [told, line.textContent, card.hidden];
    """
    told, line, hidden = await js("/ui/status.js", body)
    assert told == [True, False, True, False, True, False]
    assert (line, hidden) == ("Loading.", True)


# What was said, with times: two phrases, a pause that ends a third, and a new paragraph.
PIECES = [(-0.1, "Hel"), (0.1, "lo."), (0.5, " Is 1"), (0.7, " < 2"), (0.9, " & so on?"), (4.2, " Yes"), (6.0, " no")]
RECORD = {
    "model": "moshi",
    "call": "c1",
    "seed": 7,
    "startedAt": "2026-01-02T03:04:05.000Z",
    "pieces": [{"atS": at, "text": text} for at, text in PIECES],
    "gaps": [{"atS": 3, "lostS": 0.5}],
}


async def test_a_call_as_text(js: Js):
    text = await js("/ui/formats.js", "return m.toText(record)", record=RECORD)
    assert text == "Hello. Is 1 < 2 & so on?\n\nYes no\n"


async def test_a_call_as_json_with_times(js: Js):
    told = json.loads(await js("/ui/formats.js", "return m.toJson(record)", record=RECORD))
    assert (told["model"], told["call"], told["seed"], told["started_at"]) == ("moshi", "c1", 7, RECORD["startedAt"])
    assert [piece["text"] for piece in told["pieces"]] == [text for _, text in PIECES]
    assert [phrase["text"] for phrase in told["phrases"]] == ["Hello.", "Is 1 < 2 & so on?", "Yes", "no"]
    assert told["gaps"] == [{"at_s": 3, "lost_s": 0.5}]
    times = [t for phrase in told["phrases"] for t in (phrase["start_s"], phrase["end_s"])]
    assert times == sorted(times) and times[0] == 0


async def test_a_call_as_subtitles(js: Js):
    told = await js("/ui/formats.js", "return m.toVtt(record)", record=RECORD)
    head, *cues = told.strip().split("\n\n")
    assert head == "WEBVTT"
    assert cues[0] == "00:00:00.000 --> 00:00:00.500\n<v Parley>Hello."
    assert cues[1].endswith("<v Parley>Is 1 &lt; 2 &amp; so on?")
    assert len(cues) == 4


async def test_a_recording_is_a_file_that_plays(js: Js):
    header = await js("/ui/recorder.js", "return [...new Uint8Array(m.wavHeader(400))]")
    with wave.open(io.BytesIO(bytes(header) + bytes(400))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (2, 2, 24000, 100)


async def test_a_recording_that_is_stopped_before_it_began_records_nothing(js: Js):
    body = """
    const context = new AudioContext(), recorder = new m.Recorder(), connected = [];
    const microphone = { connect: (node) => (connected.push(node), node), disconnect() {} };
    const started = recorder.start({ context, microphone, player: microphone });
    recorder.stop();
    await started;
    const tapped = connected.length;
    await recorder.start({ context, microphone, player: microphone });
    recorder.discard();
    await context.close();
    return [tapped, connected.length];
    """
    assert await js("/ui/recorder.js", body) == [0, 2]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([("Hel", 0), ("lo", 2), (" there", 4)], [("Hello", 0, 0), ("there", 4, 1)]),
        ([(" a", 0), (" b", 10)], [("a", 0, 0), ("b", 10, 0)]),
        ([(" a b ", 0), ("c", 20)], [("a", 0, 0), ("b", 0, 1), ("c", 20, 0)]),
    ],
)
async def test_words_stand_at_their_moment_and_never_on_each_other(js: Js, pieces: list, expected: list):
    body = """
    const track = new m.WordTrack((text) => text.length);
    for (const [text, bar] of pieces) track.add(text, bar);
    return track.words.map(({ text, at, row }) => [text, at, row]);
    """
    placed = await js("/ui/word-track.js", body, pieces=pieces)
    assert [tuple(word) for word in placed] == expected


async def test_many_words_in_a_moment_never_overlap(js: Js):
    body = """
    const track = new m.WordTrack((text) => text.length);
    for (let i = 0; i < 300; i++) track.add(` word${i}`, i * 1.7);
    return track.words;
    """
    words = await js("/ui/word-track.js", body)
    assert len(words) == 80
    for row in (0, 1):
        line = [word for word in words if word["row"] == row]
        assert all(a["at"] + len(a["text"]) < b["at"] for a, b in itertools.pairwise(line))


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({}, ""),
        ({"voice": "NATF0", "seed": 7}, "#voice=NATF0&seed=7"),
        ({"prompt": "You are & wise", "text_temperature": 0.5}, "#prompt=You+are+%26+wise&text_temperature=0.5"),
    ],
)
async def test_settings_make_a_link_and_back(js: Js, choices: dict, expected: str):
    there = await js("/ui/choices.js", "return m.toHash(choices)", choices=choices)
    assert there == expected
    assert await js("/ui/choices.js", "return m.fromHash(hash)", hash=there) == choices


async def test_a_link_that_nobody_can_understand_asks_for_nothing(js: Js):
    odd = "#seed=-1&text_topk=many&audio_topk=Infinity&evil=1&voice="
    assert await js("/ui/choices.js", "return m.fromHash(hash)", hash=odd) == {}


async def test_a_report_tells_the_circumstances_and_nothing_of_what_was_said(js: Js):
    delay = {
        "captureMs": 86.5,
        "networkMs": 1,
        "waitMs": 2,
        "stepMs": 3,
        "playoutMs": 60,
        "deviceMs": 10,
        "totalMs": 152.5,
    }
    circumstances = {
        "info": {"name": "Parley", "version": "1.2", "model": "moshi", "running": 1, "slots": 8},
        "call": "c1",
        "seed": 7,
        "choices": {"voice": "NATF0"},
        "states": ["preparing 0:00", "live 0:01"],
        "delays": [{**delay, "totalMs": total} for total in range(100, 200)],
        "counts": {"concealed": 1, "skipped": 2, "late": 3, "unsent": 4},
        "sound": {"sampleRate": 48000},
        "browser": "Mozilla/5.0",
    }
    told = await js("/ui/report.js", "return m.report(c)", c=circumstances)
    for part in ("Parley 1.2, moshi", "c1, seed 7", "p50 150 ms, p95 195 ms", "live 0:01", '"late":3', "Mozilla"):
        assert part in told
    empty = {**circumstances, "info": None, "delays": [], "seed": None, "call": "", "choices": {}, "sound": None}
    assert "not measured" in await js("/ui/report.js", "return m.report(c)", c=empty)


async def test_the_page_stays_light():
    """What a first visit fetches, as the server sends it: text is compressed. Icons and fallbacks come when wanted."""
    later = {"vendor", "icons", "LICENSE"}
    total = 0
    for path in WEB.rglob("*"):
        if path.suffix in {".js", ".html", ".css", ".svg", ".webmanifest", ".woff2"} and not later & set(path.parts):
            data = path.read_bytes()
            total += len(data) if path.suffix == ".woff2" else len(gzip.compress(data, 6))
    assert 20_000 < total < 120_000


async def test_every_module_of_the_page_is_fetched_at_once():
    """A browser learns of a module's imports only when it has read it; the page names them all beforehand."""
    needed: set[Path] = set()
    left = [WEB / "main.js"]
    while left:
        module = left.pop()
        needed.add(module)
        imports = re.findall(r"^import [^;]*?from '(\.[^']+)';", module.read_text(), re.MULTILINE | re.DOTALL)
        left += {(module.parent / path).resolve() for path in imports} - needed
    html = (WEB / "index.html").read_text()
    assert {WEB / path for path in re.findall(r'<link rel="modulepreload" href="([^"]+)"', html)} == needed - {
        WEB / "main.js"
    }
