"""How the page looks in every state: it fits the screen, nothing overlaps, and axe finds nothing."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.browser import open_page
from tests.e2e.conftest import StartServer
from tests.e2e.page_actions import button, check_looks, emit, expect_status, show_model_text, start_call

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_page_before_a_call_fits_and_is_accessible(echo_page: Page):
    await check_looks(echo_page, "welcome")
    await button(echo_page, "Check mic").click()
    await expect_status(echo_page, re.compile("^Your microphone works"))
    await check_looks(echo_page, "microphone-check")
    await button(echo_page, "Stop check").click()
    await echo_page.evaluate("navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); 0")
    await button(echo_page, "Start talking").click()
    await expect_status(echo_page, re.compile("^Allow the microphone"))
    await check_looks(echo_page, "asking")
    await emit(echo_page, "queue", position=3, aheadS=90)
    await emit(echo_page, "state", state="queued", ending=None)
    await emit(echo_page, "queue", position=3, aheadS=90)
    await check_looks(echo_page, "queued")


# Pairs of elements that overlap.
OVERLAPS = """() => {
  const elements = [...document.querySelectorAll('header > *, .welcome > *, .stage, footer > *')];
  const name = ({ id, className, tagName }) => id || className || tagName;
  const boxes = elements.map((element) => [name(element), element.getBoundingClientRect()]);
  const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const seen = boxes.filter(([, { width, height }]) => width && height);
  const pairs = seen.flatMap((one, i) => seen.slice(i + 1).map((other) => [one, other]));
  return pairs.filter(([[, a], [, b]]) => overlap(a, b)).map(([[a], [b]]) => [a, b]);
}"""


@pytest.mark.parametrize(("width", "height"), [(320, 256), (320, 480), (568, 320), (667, 331)])
async def test_page_on_a_small_screen_has_no_overlap(echo_page: Page, width: int, height: int):
    """320 by 256 is a screen of 1280 by 1024 at a zoom of 400 %."""
    await expect(echo_page.locator("#notice")).to_contain_text("echo")
    await echo_page.set_viewport_size({"width": width, "height": height})
    for hint in (False, True):
        await emit(echo_page, "echo", isHeard=hint)
        assert await echo_page.evaluate(OVERLAPS) == []
        assert await echo_page.evaluate("document.documentElement.scrollWidth") <= width


async def test_page_in_a_call_fits_and_is_accessible(echo_page: Page):
    await start_call(echo_page)
    await show_model_text(echo_page)
    await check_looks(echo_page, "call")
    for name in ("Volume", "Settings", "Save"):
        await button(echo_page, name).click()
        if name == "Settings":
            await echo_page.get_by_text("Advanced").click()
        await check_looks(echo_page, name.lower())
        await echo_page.keyboard.press("Escape")
    await echo_page.locator("#delay").click()
    await check_looks(echo_page, "delay")


async def test_page_fits_and_is_accessible_whatever_happens_in_a_call(echo_page: Page):
    await start_call(echo_page)
    await show_model_text(echo_page)
    await emit(echo_page, "echo", isHeard=True)
    await check_looks(echo_page, "headphones-hint")
    await button(echo_page, "Dismiss").click()
    await echo_page.get_by_role("searchbox").fill("river")
    await check_looks(echo_page, "find")
    await button(echo_page, "Mute").click()
    await check_looks(echo_page, "muted")
    await button(echo_page, "Record").click()
    await expect_status(echo_page, re.compile("^Recording"))
    await emit(echo_page, "state", state="reconnecting", ending=None)
    await emit(echo_page, "disconnected", leftS=17)
    await expect_status(echo_page, re.compile(r"^The connection was lost. Reconnecting… 1\d s$"))
    await check_looks(echo_page, "reconnecting")
    await emit(echo_page, "resumed", lostS=2.4)
    await emit(echo_page, "drain", leftS=18)
    await expect_status(echo_page, re.compile(r"^The server is about to restart, .* 1\d s$"))
    await check_looks(echo_page, "restarting")
    await button(echo_page, "End call").click()
    await expect_status(echo_page, "Call ended.")
    await check_looks(echo_page, "ended")


async def test_page_without_a_microphone_fits_and_is_accessible(browser: Browser, serve: StartServer):
    page = await open_page(browser, (await serve("--model", "echo")).url, microphone=False)
    await button(page, "Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("blocks")
    await check_looks(page, "refused")
    await page.context.close()
