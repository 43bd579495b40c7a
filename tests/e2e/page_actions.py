"""What a test does on the page, and a check of how it looks: screenshots are left in `artifacts/page/`."""

from __future__ import annotations

import re

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from tests.e2e.conftest import ROOT

SCREENSHOTS = ROOT / "artifacts" / "page"
LIVE = "Connected. Speak whenever you like."
SIZES = {"wide": (1280, 720), "phone": (390, 780)}
expect.set_options(timeout=30_000)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


async def expect_status(page: Page, text: str | re.Pattern[str]) -> None:
    await expect(page.get_by_role("status")).to_have_text(text)


async def start_call(page: Page) -> None:
    await button(page, "Start talking").click()
    await expect_status(page, LIVE)


async def emit(page: Page, event: str, **detail: object) -> None:
    """Emit an event of the call, as if the server or a device had caused it."""
    await page.evaluate(
        "([event, detail]) => parley.call.dispatchEvent(new CustomEvent(event, { detail }))", [event, detail]
    )


MODEL_TEXT = "Hello, it is good to hear you. Rivers never hurry, and still arrive. Where would you like to begin?"


async def show_model_text(page: Page, text: str = MODEL_TEXT) -> None:
    """Show words of the model, as if it had said them in the last seconds: an echo says none."""
    after_four_seconds = """new Promise((done) =>
      parley.call.addEventListener('level', ({ detail }) => detail.atS > 4 && done(detail)))"""
    newest = await page.evaluate(after_four_seconds)
    words = text.split()
    for i, word in enumerate(words):
        ago = len(words) - i
        await emit(page, "text", text=" " + word, span=newest["span"] - ago * 9, atS=newest["atS"] - ago * 0.2)


async def check_looks(page: Page, state: str) -> None:
    """Take a screenshot of a state in every size and colour scheme; it must fit, and axe must find nothing."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.screenshot(path=SCREENSHOTS / f"{size}-{scheme}-{state}.png")
            if (size, scheme) in {("wide", "light"), ("phone", "dark")}:
                result = await Axe().run(page)
                assert result.violations_count == 0, f"{state}, {size}, {scheme}: {result.generate_report()}"
        fits = (
            "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
        )
        assert await page.evaluate(fits), f"{state}, {size}: the page is larger than the screen"
