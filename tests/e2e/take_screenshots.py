"""Takes the README's screenshots: ``python -m tests.e2e.take_screenshots``, on an idle machine.

A caller asks the demo model three questions; the screenshot is taken as soon as the last one is answered, while the
caller already speaks again. A model that is late answers something else, and then there is no screenshot. Then
`parley load` finds how many callers this machine can serve, for a screenshot of its report. ``call`` or ``load`` takes
one of them alone.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from playwright.async_api import expect

from tests.e2e.browser import MIC_HZ, PLAIN_MICROPHONE, open_browser, write_wav
from tests.e2e.conftest import ROOT, serving

SCREENSHOTS = Path(__file__).parent / "screenshots"
# What is said, and the silence after it in seconds.
SAID = (("", 6.5), ("What is your name?", 4.5), ("Tell me a joke.", 5.2), ("What is the capital of France?", 1.0))
GOES_ON = "Tell me a riddle."
ANSWER = "capital of France."
SEED = 3
MOST_CALLERS = 32
# Name, size, device pixels, colours.
TAKEN: tuple[tuple[str, tuple[int, int], int, Literal["light", "dark"]], ...] = (
    ("call", (1280, 720), 1, "light"),
    ("call-phone", (390, 780), 2, "dark"),
)


def speak(text: str) -> np.ndarray:
    """f32 [samples]"""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", file.name, text or " "], check=True)
        voice, rate_hz = soundfile.read(file.name, dtype="float32")
    return 0.6 * soxr.resample(voice, rate_hz, MIC_HZ)


def conversation() -> np.ndarray:
    parts = [part for text, pause_s in SAID for part in (speak(text), np.zeros(round(pause_s * MIC_HZ)))]
    voice = np.concatenate([*parts, speak(GOES_ON), np.zeros(20 * MIC_HZ)])
    return voice + 1e-4 * np.random.default_rng(0).standard_normal(len(voice))


async def call() -> None:
    with tempfile.TemporaryDirectory() as directory:
        microphone = write_wav(Path(directory) / "caller.wav", conversation())
        for name, (width, height), pixels, scheme in TAKEN:
            async with serving() as served, open_browser(microphone=microphone) as browser:
                context = await browser.new_context(
                    viewport={"width": width, "height": height},
                    device_scale_factor=pixels,
                    color_scheme=scheme,
                    permissions=["microphone"],
                )
                page = await context.new_page()
                await page.add_init_script(PLAIN_MICROPHONE)
                await page.goto(f"{served.url}#seed={SEED}")
                await page.get_by_role("button", name="Start talking").click()
                await page.mouse.move(5, height / 2)
                await expect(page.get_by_role("log")).to_contain_text(ANSWER, timeout=60_000)
                await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def load() -> None:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.html"
        async with serving("--slots", str(MOST_CALLERS)) as served:
            flags = f"--find --ramp 1..{MOST_CALLERS} --hold 8 -s 5..20 --html {report}".split()
            command = (sys.executable, "-m", "server", "load", served.url, *flags)
            tester = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
            assert await tester.wait() == 0
        async with open_browser() as browser:
            page = await browser.new_page(viewport={"width": 1280, "height": 1080}, color_scheme="light")
            await page.goto(report.as_uri())
            await page.screenshot(path=SCREENSHOTS / "load.png")


async def main() -> None:
    for take in (call, load):
        if take.__name__ in (sys.argv[1:] or (call.__name__, load.__name__)):
            await take()


if __name__ == "__main__":
    asyncio.run(main())
