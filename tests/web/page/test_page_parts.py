"""The recorder, the words on the waveform, the settings in a link, and the report on a call."""

from __future__ import annotations

import io
import itertools
import wave

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_wav_header_makes_a_readable_file(js: Js):
    header = await js("/page/audio/recorder.js", "return [...new Uint8Array(m.wavHeader(400))]")
    with wave.open(io.BytesIO(bytes(header) + bytes(400))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (2, 2, 24000, 100)


async def test_recorder_stopped_before_it_started_records_nothing(js: Js):
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
    assert await js("/page/audio/recorder.js", body) == [0, 2]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([("Hel", 0), ("lo", 2), (" there", 4)], [("Hello", 0, 0), ("there", 5.9, 0)]),
        ([("Hello", 0), (" there", 1)], [("Hello", 0, 0), ("there", 1, 1)]),
        ([(" a", 0), (" b", 10)], [("a", 0, 0), ("b", 10, 0)]),
        ([(" a b ", 0), ("c", 20)], [("a", 0, 0), ("b", 1.9, 0), ("c", 20, 0)]),
    ],
)
async def test_words_stay_in_one_row_near_their_time_where_they_fit(js: Js, pieces: list, expected: list):
    body = """
    const track = new m.WordTrack((text) => text.length);
    for (const [text, bar] of pieces) track.add(text, bar);
    return track.words.map(({ text, at, row }) => [text, at, row]);
    """
    placed = await js("/page/ui/word-track.js", body, pieces=pieces)
    assert [tuple(word) for word in placed] == expected


async def test_word_track_keeps_80_words_that_do_not_overlap(js: Js):
    body = """
    const track = new m.WordTrack((text) => text.length);
    for (let i = 0; i < 300; i++) track.add(` word${i}`, i * 1.7);
    return track.words;
    """
    words = await js("/page/ui/word-track.js", body)
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
async def test_settings_link_round_trips(js: Js, choices: dict, expected: str):
    there = await js("/page/ui/settings-link.js", "return m.toHash(choices)", choices=choices)
    assert there == expected
    assert await js("/page/ui/settings-link.js", "return m.fromHash(hash)", hash=there) == choices


async def test_settings_link_ignores_invalid_values(js: Js):
    odd = "#seed=-1&text_topk=many&audio_topk=Infinity&evil=1&voice="
    assert await js("/page/ui/settings-link.js", "return m.fromHash(hash)", hash=odd) == {}


async def test_report_has_the_details_of_the_call(js: Js):
    delay = {
        "captureMs": 86.5,
        "networkMs": 1,
        "waitMs": 2,
        "stepMs": 3,
        "playoutMs": 60,
        "deviceMs": 10,
        "totalMs": 152.5,
    }
    details = {
        "info": {"name": "Parley", "version": "1.2", "model": "moshi", "running": 1, "slots": 8},
        "call": "c1",
        "seed": 7,
        "choices": {"voice": "NATF0"},
        "states": ["preparing 0:00", "live 0:01"],
        "delays": [{**delay, "totalMs": total} for total in range(100, 200)],
        "counts": {"concealed": 1, "skipped": 2, "underruns": 3, "unsent": 4},
        "audio": {"sampleRate": 48000},
        "browser": "Mozilla/5.0",
    }
    told = await js("/page/ui/report.js", "return m.report(c)", c=details)
    for part in ("Parley 1.2, moshi", "c1, seed 7", "p50 150 ms, p95 195 ms", "live 0:01", '"underruns":3', "Mozilla"):
        assert part in told
    empty = {**details, "info": None, "delays": [], "seed": None, "call": "", "choices": {}, "audio": None}
    assert "not measured" in await js("/page/ui/report.js", "return m.report(c)", c=empty)


async def test_what_playback_needed_is_kept_beside_the_chosen_devices(js: Js):
    body = """
    const before = m.loadDevices();
    m.saveDevices({ microphone: 'a' });
    m.saveDevices({ bufferMs: 23 });
    const kept = m.loadDevices();
    localStorage.setItem('parley.devices', '{"speaker": "b", "bufferMs": "many"}');
    const odd = m.loadDevices();
    localStorage.clear();
    return [before, kept, odd];
    """
    assert await js("/page/ui/device-storage.js", body) == [
        {"microphone": "", "speaker": ""},
        {"microphone": "a", "speaker": "", "bufferMs": 23},
        {"microphone": "", "speaker": "b"},
    ]
