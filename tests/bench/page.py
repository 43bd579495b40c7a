"""The web page in a real browser: mouth-to-ear delay, a page whose main thread hangs, and the cost of the waveforms.

A click goes into the microphone, through the echo, and to the loudspeaker; both ends are recorded on the browser's own
audio clock. The sound card's delay, which is not recorded, is what the browser reports. The microphone plays a file,
so its own delay is not included. Without a GPU the browser draws in software, which is the most expensive way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from playwright.async_api import Browser, CDPSession, Page

from tests.bench.parley import parley
from tests.bench.processes import BenchError
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench
from tests.e2e.browser import MIC_HZ, open_browser, open_page, write_wav
from tests.e2e.call_audio import CallAudio, record_call
from tests.web.chromium import find_chromium

SETTLES_S = 65  # the playout buffer keeps less after a quiet minute
LISTEN_S = 12
HANG_S = 12
WATCH_S = 10
MAX_DELAY_MS = 145  # mouth to ear, of which 80 are the frame
MAX_SHOWN_ERROR_MS = 15
MAX_CORE_SHARE = 0.1

PARTS = ("captureMs", "networkMs", "waitMs", "stepMs", "playoutMs")
_CLICK_S = 0.005
_LOUD = 0.25
# Blocks the page's main thread for 100 of every 400 ms.
_HANG = """() => { window.hanging = setInterval(() => {
  for (const end = performance.now() + 100; performance.now() < end; );
}, 400); }"""
_COUNT = """() => { parley.call.addEventListener('counts', ({ detail }) => (window.counts = detail)); }"""
_SHOW_WAVEFORMS = "(display) => { document.querySelector('#waveform').style.display = display; }"

CoreShares = dict[str, float]  # by "main thread" and "whole browser", all its processes


def measure(bench: Workbench) -> BenchPart:
    if not find_chromium():
        raise BenchError("Chromium not found: install it, or set PARLEY_CHROMIUM to its path")
    microphone = write_wav(bench.file("clicks.wav"), clicks(30))
    with parley("echo", bench.file("page.log")) as server:
        return asyncio.run(_measure(bench, server.url, microphone))


def clicks(seconds: float) -> np.ndarray:
    """A 1 kHz click about every 0.8 s, at irregular places in a frame. f32 [samples].."""
    rng = np.random.default_rng(1)
    sound = np.zeros(round(seconds * MIC_HZ), np.float32)
    length = round(_CLICK_S * MIC_HZ)
    click = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(length) / MIC_HZ) * np.hanning(length)
    at = np.cumsum(rng.uniform(0.65, 0.95, int(seconds / 0.95)))
    for start in (at * MIC_HZ).astype(int):
        sound[start : start + length] = click[: len(sound) - start]
    return sound


async def _measure(bench: Workbench, url: str, microphone: Path) -> BenchPart:
    async with open_browser(microphone=microphone) as browser:
        page = await open_page(browser, url, bypass_csp=True)
        await page.evaluate(_COUNT)
        await page.get_by_role("button", name="Start talking").click()
        await page.wait_for_timeout(SETTLES_S * 1000)
        bench.say("clicks through the page")
        call_audio = await record_call(page, LISTEN_S)
        bench.say("a page that hangs")
        late = await _late(page)
        await page.evaluate(_HANG)
        await page.wait_for_timeout(HANG_S * 1000)
        late_hanging = await _late(page) - late
        await page.evaluate("() => clearInterval(window.hanging)")
        bench.say("the cost of the waveforms")
        cost = await _waveform_cost(browser, page)
    return _part(call_audio, late_hanging, cost)


async def _late(page: Page) -> int:
    """Playout underruns so far."""
    return await page.evaluate("() => window.counts?.underruns ?? 0")


def _part(call_audio: CallAudio, late: int, cost: CoreShares) -> BenchPart:
    lags_ms = click_lags_ms(call_audio)
    if not call_audio.delays or len(lags_ms) < LISTEN_S / 2:
        raise BenchError(f"only {len(lags_ms)} clicks came back")
    shown = {name: float(np.median([delay[name] for delay in call_audio.delays])) for name in call_audio.delays[0]}
    ear_ms = float(np.median(lags_ms)) + shown["deviceMs"]
    split = " + ".join(f"{shown[part]:.0f}" for part in PARTS)
    return BenchPart(
        title=f"The page: {len(lags_ms)} clicks through the echo, then a page that hangs, and its waveforms",
        rows=[
            BenchRow("mouth to ear, p50", f"{ear_ms:.0f} ms", target=f"{MAX_DELAY_MS} ms", met=ear_ms <= MAX_DELAY_MS),
            BenchRow(
                "the delay that the page shows",
                f"{shown['totalMs']:.0f} ms",
                target=f"within {MAX_SHOWN_ERROR_MS} ms",
                met=abs(shown["totalMs"] - ear_ms) <= MAX_SHOWN_ERROR_MS,
            ),
            BenchRow("… as frame + network + wait + step + playout", split),
            BenchRow(f"blocked 100 of every 400 ms for {HANG_S} s: underruns", f"{late}", target="none", met=late == 0),
            *(
                BenchRow(
                    f"waveforms, share of a core: {who}",
                    f"{share:.0%}",
                    target=f"under {MAX_CORE_SHARE:.0%}",
                    met=share < MAX_CORE_SHARE,
                )
                for who, share in cost.items()
            ),
        ],
        figures={"lags_ms": lags_ms.tolist(), "shown_ms": shown, "late_hanging": late, "waveform_core_share": cost},
    )


def click_lags_ms(call_audio: CallAudio) -> np.ndarray:
    """From each click heard to the next one played. f64 [clicks]"""
    heard, played = (_onsets(voice, call_audio.rate_hz) for voice in (call_audio.microphone, call_audio.played))
    following = np.searchsorted(played, heard, side="right")
    answered = following < len(played)
    lags = (played[following[answered]] - heard[answered]) * 1000 / call_audio.rate_hz
    return lags[lags < 600]  # clicks are further apart: a longer lag means that one was lost


def _onsets(voice: np.ndarray, rate_hz: int) -> np.ndarray:
    loud = np.flatnonzero(np.abs(voice) > _LOUD)
    return loud[np.diff(loud, prepend=-rate_hz) > rate_hz / 5]


async def _waveform_cost(browser: Browser, page: Page) -> CoreShares:
    """The extra CPU of a call with its waveforms, compared with the same call without."""
    main = await page.context.new_cdp_session(page)
    await main.send("Performance.enable", {"timeDomain": "threadTicks"})
    whole = await browser.new_browser_cdp_session()
    shares: dict[str, CoreShares] = {}
    for display in ("block", "none"):
        await page.evaluate(_SHOW_WAVEFORMS, display)
        await page.wait_for_timeout(1000)
        before = await _cpu_s(main, whole)
        await page.wait_for_timeout(WATCH_S * 1000)
        after = await _cpu_s(main, whole)
        shares[display] = {who: (after[who] - before[who]) / WATCH_S for who in after}
    return {who: shares["block"][who] - shares["none"][who] for who in shares["block"]}


async def _cpu_s(main: CDPSession, whole: CDPSession) -> CoreShares:
    metrics: Mapping[str, float] = {
        one["name"]: one["value"] for one in (await main.send("Performance.getMetrics"))["metrics"]
    }
    processes = (await whole.send("SystemInfo.getProcessInfo"))["processInfo"]
    return {"its main thread": metrics["TaskDuration"], "the whole browser": sum(one["cpuTime"] for one in processes)}
