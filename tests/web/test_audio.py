"""The small arithmetic of the worklets: packets of one length, another rate, levels on one clock."""

from __future__ import annotations

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("block", [1, 127, 128, 960, 5000])
async def test_packets_have_one_length_and_lose_nothing(js: Js, block: int):
    packets = await js(
        "/audio/packetizer.js",
        """const p = new m.Packetizer(960), got = [];
        for (let i = 0; i < 10000; i += block)
          p.push(Float32Array.from({length: Math.min(block, 10000 - i)}, (_, k) => i + k), (x) => got.push([...x]));
        return got;""",
        block=block,
    )
    assert [len(packet) for packet in packets] == [960] * 10
    assert [sample for packet in packets for sample in packet] == list(range(9600))


@pytest.mark.parametrize(("source_hz", "target_hz"), [(44100, 48000), (48000, 44100), (96000, 48000), (16000, 48000)])
async def test_another_rate_is_the_same_tone(js: Js, source_hz: int, target_hz: int):
    result = await js(
        "/audio/resampler.js",
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


async def test_what_the_new_rate_cannot_carry_is_taken_out(js: Js):
    power = await js(
        "/audio/resampler.js",
        """const r = new m.Resampler(96000, 48000);
        const out = r.process(Float32Array.from({length: 48000}, (_, i) => Math.sin(2 * Math.PI * 36000 * i / 96000)));
        return out.slice(200).reduce((sum, x) => sum + x * x, 0) / out.length;""",
    )
    assert power < 1e-4


async def test_two_meters_count_the_same_spans(js: Js):
    spans = await js(
        "/audio/level-meter.js",
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


async def test_the_delay_shown_is_the_sum_of_its_parts(js: Js):
    before, silent_server, told = await js(
        "/delay-gauge.js",
        """const gauge = new m.DelayGauge(), seen = [gauge.delay];
        gauge.onTrip(30);
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
