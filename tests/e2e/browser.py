"""Opens a Chromium whose microphone plays a file, and pages in it."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from playwright.async_api import Browser, Page, async_playwright

from tests.web.chromium import chromium

MIC_HZ = 48000
# Resolves to this machine, but browsers do not trust it as they trust localhost.
FOREIGN_HOST = "foreign.test"
# The microphone's audio must reach the encoder unchanged.
PLAIN_MICROPHONE = """
const devices = navigator.mediaDevices;
if (devices) {
  const open = devices.getUserMedia.bind(devices);
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  devices.getUserMedia = () => open({ audio: plain });
}
"""


def write_wav(path: Path, pcm: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MIC_HZ)
        file.writeframes((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@asynccontextmanager
async def open_browser(*args: str, microphone: Path | None = None) -> AsyncIterator[Browser]:
    """A browser whose microphone plays a file in a loop; by default it has no microphone."""
    async with async_playwright() as playwright:
        common = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
        resolve = f"--host-resolver-rules=MAP {FOREIGN_HOST} 127.0.0.1"
        fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=[*common, resolve, *(fake if microphone else ()), *args]
        )
        yield browser
        await browser.close()


async def open_page(
    browser: Browser, url: str, microphone: bool = True, init: str = "", bypass_csp: bool = False
) -> Page:
    """The page in a context of its own, with or without access to the microphone; `init` runs before its scripts.

    `bypass_csp`: the test adds a worklet of its own, which the page's Content-Security-Policy would block.
    """
    permissions = ["microphone"] if microphone else []
    context = await browser.new_context(permissions=permissions, bypass_csp=bypass_csp, ignore_https_errors=True)
    page = await context.new_page()
    await page.add_init_script(PLAIN_MICROPHONE + init)
    await page.goto(url)
    return page
