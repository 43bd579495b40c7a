"""The playback buffer on a virtual clock: when it starts, runs dry and adjusts its depth, and that it never clicks."""

from __future__ import annotations

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MODULE = "/client/audio/jitter-buffer.js"
# A virtual clock of render quanta. `arrivals`: [at which quantum, how many 20 ms packets]. The signal is a tone in
# bursts, continuous across packets, so that skipped or repeated samples show.
HARNESS = """
const RATE = 48000, QUANTUM = 128, PACKET = 960;
const buffer = new m.JitterBuffer(RATE, options);
let sent = 0, n = 0;
const source = (i) => voice === 'tone' ? 0.5 * Math.sin(2 * Math.PI * 200 * i / RATE)
  : voice === 'bursts' ? (i % 24000 < 12000 ? 0.5 : 0.0005) * Math.sin(2 * Math.PI * 200 * i / RATE) : 0.5;
const played = new Float32Array(quanta * QUANTUM), depths = [];
for (let q = 0; q < quanta; q++) {
  while (n < arrivals.length && arrivals[n][0] <= q) {
    for (let k = 0; k < arrivals[n][1]; k++) {
      const packet = new Float32Array(PACKET);
      for (let i = 0; i < PACKET; i++) packet[i] = source(sent++);
      buffer.push(packet);
    }
    n++;
  }
  const out = new Float32Array(QUANTUM);
  buffer.pull(out);
  played.set(out, q * QUANTUM);
  depths.push(buffer.depthMs);
}
let firstSound = played.findIndex((x) => Math.abs(x) > 1e-4), largestStep = 0;
for (let i = 1; i < played.length; i++) largestStep = Math.max(largestStep, Math.abs(played[i] - played[i - 1]));
return { firstSoundMs: firstSound * 1000 / RATE, largestStep, depths, underruns: buffer.underruns,
  targetMs: buffer.targetMs, concealedMs: buffer.concealedSamples * 1000 / RATE,
  removedMs: buffer.removedSamples * 1000 / RATE, overflow: buffer.overflowSamples, lowWaterMs: buffer.lowWaterMs,
  finite: played.every(Number.isFinite), peak: played.reduce((a, b) => Math.max(a, Math.abs(b)), 0) };
"""
QUANTA_PER_S = 375
TONE_STEP = 0.5 * 2 * 3.14159 * 200 / 48000  # the steepest that a 200 Hz tone of 0.5 gets by itself


def bursts(start_s: float, stop_s: float, packets: int = 4) -> list[tuple[int, int]]:
    """A model's frames: `packets` at once, as often as they last."""
    span = packets * 0.02
    return [(round((start_s + i * span) * QUANTA_PER_S), packets) for i in range(round((stop_s - start_s) / span))]


async def play(js: Js, arrivals: list[tuple[int, int]], seconds: float, voice: str = "tone", **options: int):
    return await js(
        MODULE,
        HARNESS,
        arrivals=arrivals,
        quanta=round(seconds * QUANTA_PER_S),
        voice=voice,
        options=options,
    )


@pytest.mark.parametrize("packets", [1, 4])
async def test_buffer_starts_40_ms_after_the_first_packet_and_keeps_that_depth(js: Js, packets: int):
    result = await play(js, bursts(0.1, 4, packets), 3.5)
    assert 137 <= result["firstSoundMs"] <= 144
    assert result["underruns"] == 0
    assert result["removedMs"] == 0
    assert 36 <= result["lowWaterMs"] <= 44


async def test_buffer_hides_a_packet_that_is_35_ms_late(js: Js):
    arrivals = [(at + (13 if i % 3 == 0 else 0), n) for i, (at, n) in enumerate(bursts(0.1, 4))]  # 35 ms late
    result = await play(js, arrivals, 3.5)
    assert result["underruns"] == 0
    assert result["largestStep"] < 2 * TONE_STEP


async def test_buffer_that_runs_dry_counts_it_fades_out_and_adds_10_ms(js: Js):
    arrivals = bursts(0, 1) + bursts(1.5, 3)  # silent for half a second
    result = await play(js, arrivals, 2.9)
    assert result["underruns"] == 1
    assert result["targetMs"] == pytest.approx(50, abs=0.1)
    assert 55 < result["concealedMs"] <= 65, "concealment fades out soon"
    assert result["largestStep"] < 2 * TONE_STEP, "a click"


async def test_buffer_target_grows_to_200_ms_at_most(js: Js):
    arrivals = [(round(i * 0.4 * QUANTA_PER_S), 1) for i in range(40)]
    result = await play(js, arrivals, 16)
    assert result["underruns"] >= 17
    assert result["targetMs"] == pytest.approx(200, abs=0.1)


@pytest.mark.parametrize("voice", ["tone", "bursts"])
async def test_buffer_removes_a_backlog_within_about_a_second_without_a_click(js: Js, voice: str):
    before, stall_s = bursts(0, 2), 0.4
    backlog = [(round((2 + stall_s) * QUANTA_PER_S), 20)]
    result = await play(js, before + backlog + bursts(2 + stall_s, 6), 5.9, voice)
    depths = result["depths"]
    assert max(depths[int(2.4 * QUANTA_PER_S) : int(2.6 * QUANTA_PER_S)]) > 380
    assert max(depths[int(4.2 * QUANTA_PER_S) :]) < 50 + 80 + 25, "the backlog stayed as delay"
    assert 300 < result["removedMs"] < 420
    assert result["underruns"] == 1, "removing samples must not run it dry"
    assert result["largestStep"] < 3 * TONE_STEP, "a click"


async def test_buffer_removes_samples_in_quiet_moments_first(js: Js):
    backlog = [(0, 10), *bursts(0.02, 4)]
    loud = await js(
        MODULE,
        """
        const buffer = new m.JitterBuffer(48000), out = new Float32Array(128);
        let loud = 0, n = 0;
        const source = (i) => (i % 24000 < 12000 ? 0.5 : 0.001) * Math.sin(2 * Math.PI * 200 * i / 48000);
        const push = (packets) => { for (; packets > 0; packets--)
          buffer.push(Float32Array.from({length: 960}, () => source(n++))); };
        for (let q = 0; q < 1400; q++) {
          for (const [at, packets] of arrivals) if (at === q) push(packets);
          const before = buffer.removedSamples;
          buffer.pull(out);
          const removed = buffer.removedSamples - before;
          if (removed > 0 && out.some((x) => Math.abs(x) > 0.1)) loud += removed;
        }
        return loud / buffer.removedSamples;
        """,
        arrivals=backlog,
    )
    assert loud < 0.2


async def test_buffer_is_bounded_and_counts_what_it_drops(js: Js):
    result = await play(js, [(10, 1000)], 4, voice="level")
    assert result["overflow"] == 1000 * 960 - 3 * 48000
    assert max(result["depths"]) <= 3000
    assert result["finite"]
    assert result["peak"] <= 0.501


async def test_buffer_without_packets_is_silent(js: Js):
    result = await play(js, [], 1)
    assert result["peak"] == 0
    assert result["underruns"] == 0


async def test_buffer_conceals_a_short_gap_and_raises_its_target(js: Js):
    """The packet was due 35 ms before the gap and comes 40 ms into it."""
    result = await js(
        MODULE,
        """
        const buffer = new m.JitterBuffer(48000), out = new Float32Array(128), loud = [];
        const tone = (i) => 0.5 * Math.sin(2 * Math.PI * 150 * i / 48000);
        let n = 0;
        for (let q = 0; q < 1500; q++) {
          const due = Math.floor(q / 7.5) + 1;
          if (q < 150 || q >= 179) for (; n < due * 960; n += 960)
            buffer.push(Float32Array.from({length: 960}, (_, i) => tone(n + i)));
          buffer.pull(out);
          loud.push(Math.hypot(...out) / Math.sqrt(128));
        }
        return {quietest: Math.min(...loud.slice(30)), underruns: buffer.underruns, concealed: buffer.concealedSamples,
          targetMs: buffer.targetMs, lowWaterMs: buffer.lowWaterMs};
        """,
    )
    assert result["underruns"] == 1
    assert 20 < result["concealed"] / 48 < 45
    assert result["quietest"] > 0.1
    assert result["targetMs"] == pytest.approx(50, abs=0.1)
    assert 45 < result["lowWaterMs"] < 62


async def test_buffer_conceals_an_undecodable_packet_without_a_click(js: Js):
    result = await js(
        MODULE,
        """
        const buffer = new m.JitterBuffer(48000), out = new Float32Array(128), played = [];
        let n = 0;
        for (let q = 0; q < 750; q++) {
          if (q % 7.5 < 1) {
            const packet = Float32Array.from({length: 960}, () => 0.5 * Math.sin(2 * Math.PI * 200 * n++ / 48000));
            if (Math.floor(q / 7.5) === 40) buffer.pushConcealed(960); else buffer.push(packet);
          }
          buffer.pull(out);
          played.push(...out);
        }
        let step = 0;
        for (let i = 1; i < played.length; i++) step = Math.max(step, Math.abs(played[i] - played[i - 1]));
        return {step, concealed: buffer.concealedSamples, underruns: buffer.underruns};
        """,
    )
    assert (result["concealed"], result["underruns"]) == (960, 0)
    assert result["step"] < 2 * TONE_STEP


async def test_buffer_lowers_its_target_after_a_calm_minute(js: Js):
    arrivals = bursts(0, 1) + bursts(1.5, 100)  # one stall, then a steady network
    assert (await play(js, arrivals, 49))["targetMs"] == pytest.approx(50, abs=0.1)
    result = await play(js, arrivals, 99)
    assert result["underruns"] == 1
    assert result["targetMs"] == pytest.approx(15, abs=0.1)
    assert 12 < result["lowWaterMs"] < 25


# Minutes on a virtual clock of a call at 48 kHz. `late`: [from s, to s, ms] of every 25th frame.
CALL = """
const RATE = 48000, QUANTUM = 128, out = new Float32Array(QUANTUM), packet = new Float32Array(960).fill(0.1);
const buffer = new m.JitterBuffer(RATE, options), seen = [];
let sent = 0;
const arrivesS = () => sent * 0.08 + (sent % 25 ? 0
  : late.reduce((sum, [from, to, ms]) => sum + (sent * 0.08 >= from && sent * 0.08 < to ? ms / 1000 : 0), 0));
for (let q = 0; q * QUANTUM / RATE < seconds; q++) {
  for (; arrivesS() <= q * QUANTUM / RATE; sent++) for (let k = 0; k < 4; k++) buffer.push(packet);
  buffer.pull(out);
  if (q % 375 === 0) seen.push([buffer.targetMs, buffer.lowWaterMs, buffer.underruns]);
}
return { seen, seedMs: buffer.seedMs };
"""


async def targets(js: Js, late: list[tuple[float, float, float]], seconds: int, **options: float):
    """Each second's target, low water and underruns, and what the next call should begin with."""
    told = await js(MODULE, CALL, late=late, seconds=seconds, options=options)
    return told["seen"], told["seedMs"]


async def test_after_a_quiet_minute_the_page_gives_no_delay_away(js: Js):
    seen, seed_ms = await targets(js, [], 75)
    assert seen[50][0] == pytest.approx(40, abs=0.1)
    assert seen[74][0] == pytest.approx(15, abs=0.1)
    assert 12 < seen[74][1] < 26
    assert seen[74][2] == 0
    assert seed_ms == pytest.approx(15, abs=0.1)


async def test_after_a_minute_the_page_holds_what_that_minute_needed_and_a_few_ms(js: Js):
    seen, _ = await targets(js, [(0, 200, 16)], 90)
    assert 18 < seen[89][0] < 28
    assert seen[89][2] == 0


async def test_packets_that_begin_to_come_later_raise_the_target_at_once(js: Js):
    """They are 10 ms late after a quiet minute: nothing runs dry, but the next one might."""
    seen, _ = await targets(js, [(80, 200, 10)], 84)
    assert seen[79][0] == pytest.approx(15, abs=0.1)
    assert seen[83][0] > 17
    assert seen[83][2] == 0


async def test_a_target_that_was_too_low_is_up_again_at_once_and_falls_later_the_next_time(js: Js):
    seen, _ = await targets(js, [(80, 80.5, 60)], 240)
    assert seen[79][0] == pytest.approx(15, abs=0.1)
    assert seen[82][0] >= 40
    assert seen[82][2] == seen[239][2] <= 2
    assert seen[170][0] >= 40, "a minute was not long enough"
    assert seen[239][0] == pytest.approx(15, abs=0.1)


async def test_next_call_begins_with_what_the_start_of_this_one_needed(js: Js):
    """The start is less steady than the rest, and nobody should hear it break again."""
    seen, seed_ms = await targets(js, [(1, 5, 30)], 90)
    assert seen[89][0] == pytest.approx(15, abs=0.1)
    assert 30 < seed_ms < 45
    seen, again_ms = await targets(js, [(1, 5, 30)], 90, seedMs=seed_ms)
    assert seen[0][0] == pytest.approx(seed_ms, abs=0.1)
    assert seen[89][2] == 0
    assert again_ms == pytest.approx(seed_ms, abs=6)


# An hour on a virtual clock, at 16 kHz to be quick and pulled every 2.5 ms as at 48 kHz: a voice in syllables comes in
# 80 ms bursts from a sender whose clock is off by `ppm`, through a network that adds up to `jitterMs`.
HOUR = """
const RATE = 16000, QUANTUM = 40, seconds = 3600;
const buffer = new m.JitterBuffer(RATE), out = new Float32Array(QUANTUM);
const voice = Float32Array.from({length: RATE}, (_, i) =>
  (i % 4000 < 3000 ? 0.4 : 0.001) * Math.sin(2 * Math.PI * 200 * i / RATE));
let sent = 0, random = 1, last = 0, step = 0, arrivesS = 0;
const depths = [];
for (let q = 0; q * QUANTUM / RATE < seconds; q++) {
  const nowS = q * QUANTUM / RATE;
  while (arrivesS <= nowS) {
    const at = (sent * 4 * 320) % RATE;
    for (let k = 0; k < 4; k++) buffer.push(voice.subarray((at + k * 320) % RATE, (at + k * 320) % RATE + 320));
    sent++;
    random = (random * 16807) % 2147483647;
    arrivesS = sent * 0.08 * (1 - ppm * 1e-6) + (random / 2147483647) * jitterMs / 1000;
  }
  buffer.pull(out);
  for (const x of out) { step = Math.max(step, Math.abs(x - last)); last = x; }
  if (q % 4000 === 0 && q) depths.push(buffer.lowWaterMs);
}
return { underruns: buffer.underruns, depths, step,
  removedMs: buffer.removedSamples / 16, insertedMs: buffer.insertedSamples / 16 };
"""


@pytest.mark.parametrize(("ppm", "jitter_ms"), [(200, 0), (-200, 0), (-100, 25), (0, 25)])
async def test_buffer_follows_a_senders_clock_that_drifts_for_an_hour(js: Js, ppm: int, jitter_ms: int):
    result = await js(MODULE, HOUR, ppm=ppm, jitterMs=jitter_ms)
    drift_ms = 3600 * ppm / 1000
    assert result["underruns"] == 0
    assert max(result["depths"]) < 65
    assert min(result["depths"]) > 0
    assert result["removedMs"] - result["insertedMs"] == pytest.approx(drift_ms, abs=35)
    assert min(result["removedMs"], result["insertedMs"]) < 250, "it removes what it has just inserted"
    assert result["step"] < 3 * 0.4 * 2 * 3.14159 * 200 / 16000, "a click"
