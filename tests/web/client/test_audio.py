"""The pure parts of the audio worklets: packets, sample rates, levels, the echo gate and detector, and the delay."""

from __future__ import annotations

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("block", [1, 127, 128, 960, 5000])
async def test_packetizer_gives_packets_of_one_length_and_loses_no_sample(js: Js, block: int):
    packets = await js(
        "/client/audio/packetizer.js",
        """const p = new m.Packetizer(960), got = [];
        for (let i = 0; i < 10000; i += block)
          p.push(Float32Array.from({length: Math.min(block, 10000 - i)}, (_, k) => i + k), (x) => got.push([...x]));
        return got;""",
        block=block,
    )
    assert [len(packet) for packet in packets] == [960] * 10
    assert [sample for packet in packets for sample in packet] == list(range(9600))


@pytest.mark.parametrize(("source_hz", "target_hz"), [(44100, 48000), (48000, 44100), (96000, 48000), (16000, 48000)])
async def test_resampler_keeps_a_tone(js: Js, source_hz: int, target_hz: int):
    result = await js(
        "/client/audio/resampler.js",
        """const r = new m.Resampler(sourceHz, targetHz), out = [];
        for (let i = 0; i < sourceHz; i += 128) {
          const part = Float32Array.from({length: 128}, (_, k) => Math.sin(2 * Math.PI * 1000 * (i + k) / sourceHz));
          out.push(...r.process(part));
        }
        // Project on the tone: what is left over is error.
        const settled = out.slice(1000);
        let s = 0, c = 0, energy = 0;
        settled.forEach((x, i) => { const a = 2 * Math.PI * 1000 * i / targetHz;
          s += x * Math.sin(a); c += x * Math.cos(a); energy += x * x; });
        return {length: out.length, share: 2 * (s * s + c * c) / settled.length / energy,
          power: energy / settled.length};""",
        sourceHz=source_hz,
        targetHz=target_hz,
    )
    assert result["length"] == pytest.approx(target_hz, abs=200)
    assert result["share"] > 0.999
    assert result["power"] == pytest.approx(0.5, rel=0.02)


async def test_resampler_removes_frequencies_above_the_new_nyquist_frequency(js: Js):
    power = await js(
        "/client/audio/resampler.js",
        """const r = new m.Resampler(96000, 48000);
        const out = r.process(Float32Array.from({length: 48000}, (_, i) => Math.sin(2 * Math.PI * 36000 * i / 96000)));
        return out.slice(200).reduce((sum, x) => sum + x * x, 0) / out.length;""",
    )
    assert power < 1e-4


async def test_level_meters_count_the_same_spans(js: Js):
    spans = await js(
        "/client/audio/level-meter.js",
        """const seen = [];
        const early = new m.LevelMeter((span, rms) => seen.push(['early', span, rms]));
        const late = new m.LevelMeter((span, rms) => seen.push(['late', span, rms]));
        for (let q = 0; q < 24; q++) {
          early.add(new Float32Array(128).fill(0.5), q * 128);
          if (q >= 9) late.add(new Float32Array(128).fill(-0.25), q * 128);
        }
        return seen;""",
    )
    assert [(who, span) for who, span, _ in spans] == [
        ("early", 0), ("early", 1), ("late", 1), ("early", 2), ("late", 2),
    ]  # fmt: skip
    assert all(rms == pytest.approx(0.5 if who == "early" else 0.25) for who, _, rms in spans)


GATE = """
const gate = new m.EchoWarmUpGate(), closed = [];
let atS = 0;
for (const [untilS, played, heard] of story)
  for (; atS < untilS; atS += 0.01) if (gate.isClosed(played, heard ?? played / 4, 0.01)) closed.push(atS);
return {seconds: closed.length / 100, first: closed[0], last: closed.at(-1)};
"""


async def closed(js: Js, *story: tuple[float, float] | tuple[float, float, float]):
    """When the gate is closed, for (until_s, played rms, microphone rms = a quarter of it) in order."""
    return await js("/client/audio/echo-warm-up-gate.js", GATE, story=story)


async def test_gate_closes_while_the_echo_canceller_adapts(js: Js):
    without_pauses = await closed(js, (1, 0), (9, 0.1))
    assert (without_pauses["first"], without_pauses["last"]) == (
        pytest.approx(1, abs=0.02),
        pytest.approx(3.5, abs=0.02),
    )
    with_pauses = await closed(js, (1, 0.1), (2, 0), (3, 0.1), (9, 0.1))
    assert with_pauses["seconds"] == pytest.approx(1 + 0.25 + 1.5, abs=0.05)
    assert with_pauses["last"] == pytest.approx(3.5, abs=0.02)
    with_a_long_pause = await closed(js, (0.5, 0.1), (3, 0), (4, 0.1), (9, 0.1))
    assert with_a_long_pause["last"] == pytest.approx(4, abs=0.02), "four seconds at most"
    assert (await closed(js, (9, 0.001)))["seconds"] == 0


async def test_gate_opens_early_where_no_echo_comes_through(js: Js):
    headphones = await closed(js, (1, 0), (9, 0.1, 0.0005))
    assert headphones["last"] == pytest.approx(1.75, abs=0.02)
    assert (await closed(js, (1, 0.1, 0.0005), (2, 0), (9, 0.1, 0.1)))["last"] < 1


async def test_gate_stays_open_for_a_caller_who_is_speaking(js: Js):
    # The first seconds with an echo server: the caller's words come back while the caller still speaks.
    assert (await closed(js, (0.2, 0, 0.1), (2, 0.1, 0.1)))["seconds"] == 0
    tail = await closed(js, (0.2, 0, 0.1), (1, 0.1, 0.1), (1.1, 0.1, 0), (1.15, 0.1, 0.1), (1.4, 0.1, 0), (4, 0))
    assert (tail["first"], tail["last"]) == (pytest.approx(1.35, abs=0.02), pytest.approx(1.64, abs=0.02))
    # An echo that rings on into a pause is not speech.
    rings = await closed(js, (0.5, 0.1), (0.7, 0, 0.1), (0.8, 0, 0), (9, 0.1))
    assert rings["seconds"] == pytest.approx(0.5 + 0.25 + 2, abs=0.05)
    # A caller who starts to speak during an echo cannot be told from it.
    interrupts = await closed(js, (0.5, 0.1), (1, 0.1, 0.3), (9, 0.1))
    assert interrupts["last"] == pytest.approx(2.5, abs=0.02)


# Two independent voices with syllables and pauses; the room adds the played one to the microphone.
ROOM = """
const heard = [], detector = new m.EchoDetector((isHeard) => heard.push([isHeard, span]));
let random = seed, span = 0;
const next = () => (random = (random * 16807) % 2147483647) / 2147483647;
const voice = () => { let left = 0, level = 0; return () => {
  if (left-- <= 0) { left = 3 + 12 * next(); level = next() < 0.3 ? 0.0005 : 0.02 + 0.2 * next(); }
  return level * (0.7 + 0.6 * next()); }; };
const model = voice(), user = voice(), played = [], said = [];
for (; span < 47 * seconds; span++) {
  said.push(userTalks ? user() : 0.0005);
  played.push(repeatsAfterSpans ? said[span - repeatsAfterSpans] ?? 0 : span < 47 * quietFromS ? model() : 0);
  const echo = span < 47 * headphonesFromS ? echoGain * (played[span - lagSpans] ?? 0) : 0;
  detector.add(Math.hypot(echo, said[span]), played[span]);
}
return heard;
"""


async def room(js: Js, **changes: float):
    usual = {
        "seed": 7,
        "seconds": 60,
        "echoGain": 0.3,
        "lagSpans": 6,
        "userTalks": 0,
        "repeatsAfterSpans": 0,
        "quietFromS": 60,
        "headphonesFromS": 60,
    }
    return await js("/client/audio/echo-detector.js", ROOM, **{**usual, **changes})


@pytest.mark.parametrize("seed", [7, 11, 13])
@pytest.mark.parametrize("lag_spans", [0, 6, 14])
async def test_echo_detector_reports_a_loudspeaker_in_the_microphone(js: Js, seed: int, lag_spans: int):
    noticed = await room(js, seed=seed, lagSpans=lag_spans)
    assert [is_heard for is_heard, _ in noticed] == [True]
    assert noticed[0][1] < 47 * 10


@pytest.mark.parametrize("seed", [7, 11, 13])
@pytest.mark.parametrize("user_talks", [0, 1])
async def test_echo_detector_ignores_headphones_and_double_talk(js: Js, seed: int, user_talks: int):
    assert (
        await room(js, seed=seed, echoGain=0, userTalks=user_talks, seconds=300, headphonesFromS=300, quietFromS=300)
        == []
    )


@pytest.mark.parametrize("seed", [7, 11, 13])
async def test_echo_detector_ignores_a_model_that_repeats_the_caller(js: Js, seed: int):
    assert await room(js, seed=seed, echoGain=0, userTalks=1, repeatsAfterSpans=7) == []


async def test_echo_detector_reports_the_end_of_an_echo(js: Js):
    noticed = await room(js, headphonesFromS=20)
    assert [is_heard for is_heard, _ in noticed] == [True, False]


async def test_echo_detector_keeps_its_state_while_the_model_is_silent(js: Js):
    assert [is_heard for is_heard, _ in await room(js, quietFromS=20)] == [True]


async def test_delay_gauge_shows_the_sum_of_its_parts(js: Js):
    before, silent_server, told = await js(
        "/client/delay-gauge.js",
        """const gauge = new m.DelayGauge(), seen = [gauge.delay];
        gauge.onRoundTrip(30);
        gauge.onBuffer(41, 25);
        seen.push(gauge.delay);
        gauge.onServer(12, 3);
        gauge.onServer(NaN, undefined);
        return [...seen, gauge.delay];""",
    )
    assert before is None
    assert told["totalMs"] == silent_server["totalMs"] == 80 + 6.5 + 30 + 2.5 + 41 + 25
    assert (silent_server["networkMs"], silent_server["stepMs"], silent_server["waitMs"]) == (30, 0, 0)
    assert (told["networkMs"], told["stepMs"], told["waitMs"]) == (15, 12, 3)
    assert sum(told[part] for part in ("captureMs", "networkMs", "waitMs", "stepMs", "playoutMs")) == told["totalMs"]
