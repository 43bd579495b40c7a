"""What one can do on the page beside talking: by mouse, by keyboard alone, and looked at in every state.

Pictures of every state, wide and on a phone, light and dark, are left in `artifacts/page/`.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Download, Page, Route, expect

from tests.e2e.browsing import open_page
from tests.e2e.conftest import ROOT, Serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PICTURES = ROOT / "artifacts" / "page"
LIVE = "Connected. Speak whenever you like."
SIZES = {"wide": (1280, 720), "phone": (390, 780)}
expect.set_options(timeout=30_000)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, serve: Serve) -> AsyncIterator[Page]:
    """The page of an echo server, the microphone allowed."""
    page = await open_page(browser, (await serve("--model", "echo")).url)
    yield page
    await page.context.close()


def button(page: Page, name: str):
    return page.get_by_role("button", name=name, exact=True)


async def expect_status(page: Page, text: str | re.Pattern[str]) -> None:
    await expect(page.get_by_role("status")).to_have_text(text)


async def call(page: Page) -> None:
    await button(page, "Start talking").click()
    await expect_status(page, LIVE)


async def tell(page: Page, kind: str, **detail: object) -> None:
    """As if the server or a device had caused this event of the call."""
    await page.evaluate(
        "([kind, detail]) => parley.call.dispatchEvent(new CustomEvent(kind, { detail }))", [kind, detail]
    )


async def content(download: Download) -> bytes:
    return await asyncio.to_thread(Path(await download.path()).read_bytes)


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


SAID = "Hello, it is good to hear you. Rivers never hurry, and still arrive. Where would you like to begin?"


async def say(page: Page, text: str = SAID) -> None:
    """The model's words, as if the last seconds had brought them: an echo has none of its own."""
    late_enough = """new Promise((done) =>
      parley.call.addEventListener('level', ({ detail }) => detail.atS > 4 && done(detail)))"""
    newest = await page.evaluate(late_enough)
    words = text.split()
    for i, word in enumerate(words):
        ago = len(words) - i
        await tell(page, "words", text=" " + word, span=newest["span"] - ago * 9, atS=newest["atS"] - ago * 0.2)


# Loudness of a voice over one second: the mean of what `level` tells.
LOUDNESS = """(voice) => new Promise((done) => {
  const heard = [];
  parley.call.addEventListener('level', function listen({ detail }) {
    if (detail.voice === voice) heard.push(detail.rms);
    if (heard.length < 47) return;
    parley.call.removeEventListener('level', listen);
    done(heard.reduce((sum, rms) => sum + rms, 0) / heard.length);
  });
})"""


async def test_by_keyboard_alone(page: Page):
    press = page.keyboard.press
    await press("Tab")
    await expect(button(page, "Check mic")).to_be_focused()
    await press("Tab")
    await press("Enter")
    await expect_status(page, LIVE)
    # The space bar must not end the call that it began: what is under the fingers now is the microphone.
    await expect(button(page, "Mute")).to_be_focused()
    await press("Enter")
    await expect_status(page, re.compile("^Muted"))
    await page.keyboard.down("Space")
    await expect_status(page, re.compile("^You are heard"))
    await page.wait_for_timeout(400)  # longer than a tap
    await page.wait_for_timeout(500)  # let go sooner, it would be a tap on the button, which unmutes
    await page.keyboard.up("Space")
    await expect_status(page, re.compile("^Muted"))
    await press("Enter")
    await expect_status(page, LIVE)
    for _ in range(2):
        await press("Tab")
    await press("Enter")
    await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    await expect(button(page, "Done")).to_be_focused()
    await press("Escape")
    await expect(button(page, "Settings")).to_be_focused()
    await press("Shift+Tab")
    await press("Space")
    await expect_status(page, "Call ended.")
    await expect(button(page, "Start talking")).to_be_focused()


async def test_muted_nothing_is_heard_but_while_the_space_bar_is_held(page: Page):
    await call(page)
    await button(page, "Mute").click()
    await page.wait_for_timeout(1000)  # what was said before is still on its way
    assert await page.evaluate(LOUDNESS, "model") < 0.001
    await page.keyboard.down("Space")
    await page.wait_for_function("() => new Promise((done) => parley.call.addEventListener('level', ({ detail }) => "
                                 "detail.voice === 'model' && detail.rms > 0.01 && done(true)))")  # fmt: skip
    await page.wait_for_timeout(500)  # let go sooner, it would be a tap on the button, which unmutes
    await page.keyboard.up("Space")
    await expect_status(page, re.compile("^Muted"))


async def test_a_press_without_pointer_or_key_mutes_and_unmutes(page: Page):
    """As some screen readers press."""
    await call(page)
    press = "document.getElementById('mic').click()"
    await page.evaluate(press)
    await expect_status(page, re.compile("^Muted"))
    await page.wait_for_timeout(400)  # longer than a tap
    await page.evaluate(press)
    await expect_status(page, LIVE)


async def test_the_microphone_is_checked_before_a_call_and_nothing_is_sent(page: Page):
    await button(page, "Check mic").click()
    await expect_status(page, re.compile("^Your microphone works"))
    assert await page.evaluate("parley.call.inCall") is False
    await button(page, "Stop check").click()
    await expect_status(page, "")
    assert await page.evaluate("parley.call.graph") is None


async def test_a_recording_holds_both_voices(page: Page):
    await call(page)
    await button(page, "Record").click()
    await page.wait_for_timeout(3000)
    await button(page, "End call").click()
    await expect(page.locator("#recorded")).to_contain_text(re.compile(r"Recording, 0:0\d"))
    async with page.expect_download() as saved:
        await page.locator("#recorded").get_by_role("button", name="Save").click()
    download = await saved.value
    assert re.fullmatch(r"parley-.*\.wav", download.suggested_filename)
    with wave.open(io.BytesIO(await content(download))) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24000)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32768
    assert 1 < len(sound) / 24000 < 30
    assert np.sqrt(np.mean(sound**2, axis=0)).min() > 0.005
    await expect(page.locator("#recorded")).to_be_hidden()


async def test_what_was_said_is_found_copied_and_saved(page: Page):
    await page.context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"])
    await call(page)
    await say(page)
    await page.get_by_role("searchbox").fill("hear you. rivers")
    await expect(page.locator("#found")).to_have_text("1 of 1")
    assert await page.evaluate("[...CSS.highlights.get('found')].map(String)") == ["hear you. Rivers"]
    await page.get_by_role("searchbox").fill("")
    await button(page, "Copy").click()
    await expect_status(page, "Copied.")
    assert (await page.evaluate("navigator.clipboard.readText()")).strip() == SAID
    for name, ending in (("Text", "txt"), ("With times", "json"), ("Subtitles", "vtt")):
        await button(page, "Save").click()
        async with page.expect_download() as saved:
            await page.get_by_role("dialog", name="Save").get_by_role("button", name=name).click()
        download = await saved.value
        assert download.suggested_filename.endswith("." + ending)
        assert b"never hurry" in await content(download)
    await page.locator("#delay").click()
    await button(page, "Copy report").click()
    assert "Rivers" not in (report := await page.evaluate("navigator.clipboard.readText()"))
    assert re.search(r"mouth to ear: p50 \d+ ms", report) and "live 0:0" in report
    await page.keyboard.press("Escape")
    await button(page, "End call").click()
    await page.locator("#delay").click()
    await button(page, "Copy report").click()
    await page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('ended (by caller)')")


async def test_a_link_chooses_and_the_defaults_are_a_click_away(page: Page):
    await page.goto(page.url + "#text_temperature=0.5&seed=7")
    await call(page)
    await page.wait_for_function("() => parley.call.seed === 7")  # the server said so
    await button(page, "Settings").click()
    await page.get_by_text("Advanced").click()
    await expect(page.get_by_label("Words: temperature")).to_have_value("0.5")
    await expect(page.get_by_text("This call: 7")).to_be_visible()
    await button(page, "Defaults").click()
    await expect(page.get_by_label("Words: temperature")).to_have_value("0.7")
    assert await page.evaluate("parley.call.choices") == {}
    await button(page, "Use this call’s seed").click()
    assert await page.evaluate("parley.call.choices") == {"seed": 7}


async def test_voices_are_offered_where_the_server_has_some(page: Page):
    async def with_voices(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(json={**await response.json(), "voices": ["NATF0", "NATM1"], "prompts": []})

    await page.route("**/api/info", with_voices)
    await page.goto(page.url + "#voice=NATM1")
    await page.reload()
    await button(page, "Settings").click()
    await expect(page.get_by_role("combobox", name="Voice", exact=True)).to_have_value("NATM1")
    await page.get_by_role("combobox", name="Voice", exact=True).select_option("NATF0")
    assert await page.evaluate("parley.call.choices") == {"voice": "NATF0"}
    await expect(page.get_by_role("combobox", name="Role")).to_be_hidden()


async def test_what_the_models_makers_recommend_is_the_default(page: Page):
    async def with_params(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(json={**await response.json(), "params": {"text_temperature": 0.3}})

    await page.route("**/api/info", with_params)
    await page.reload()
    await button(page, "Settings").click()
    await page.get_by_text("Advanced").click()
    field = page.get_by_label("Words: temperature")
    await expect(field).to_have_value("0.3")
    assert await page.evaluate("parley.call.choices") == {}
    await field.fill("0.7")
    await field.blur()
    assert await page.evaluate("parley.call.choices") == {"text_temperature": 0.7}
    await button(page, "Defaults").click()
    await expect(field).to_have_value("0.3")


async def test_microphone_and_speaker_are_remembered_and_nothing_else(page: Page):
    await button(page, "Check mic").click()
    await expect_status(page, re.compile("^Your microphone works"))
    await button(page, "Settings").click()
    menu = page.get_by_role("combobox", name="Microphone", exact=True)
    await menu.select_option(index=1)
    await page.wait_for_function("() => localStorage.length === 1")
    chosen = await menu.input_value()
    await page.get_by_label("Suppress noise").click()
    await page.reload()
    kept = await page.evaluate("({ ...localStorage })")
    assert [json.loads(value) for value in kept.values()] == [{"microphone": chosen, "speaker": ""}]
    asked = "navigator.mediaDevices.getUserMedia = async (wish) => { window.asked = wish; throw new Error('no'); }; 0"
    await page.evaluate(asked)
    await button(page, "Start talking").click()
    await page.wait_for_function("() => window.asked")
    assert await page.evaluate("asked.audio.deviceId") == {"exact": chosen}


async def test_the_server_records_only_who_allows_it(browser: Browser, serve: Serve, tmp_path: Path):
    page = await open_page(browser, (await serve("--model", "echo", "--record", str(tmp_path))).url)
    await call(page)
    await page.wait_for_timeout(500)
    await expect(page.locator("#kept")).to_be_hidden()
    await button(page, "End call").click()
    assert not files_in(tmp_path)
    await button(page, "Settings").click()
    allowed = page.get_by_label("Let the server record")
    await expect(allowed).not_to_be_checked()
    await allowed.check()
    await look(page, "consent")
    await page.keyboard.press("Escape")
    await button(page, "Start talking").click()
    await expect_status(page, re.compile("^The server records this call"))
    await expect(page.locator("#kept")).to_be_visible()
    await look(page, "recorded-there")
    await button(page, "End call").click()
    await expect(page.locator("#kept")).to_be_hidden()
    assert files_in(tmp_path)
    await page.context.close()


async def test_recording_is_not_offered_where_the_server_does_not_record(page: Page):
    await expect(page.locator("#notice")).to_contain_text("echo")
    await button(page, "Settings").click()
    await expect(page.get_by_label("Let the server record")).to_be_hidden()


async def test_the_page_can_be_installed(page: Page):
    manifest = await page.request.get(page.url + "manifest.webmanifest")
    assert manifest.headers["content-type"].startswith("application/manifest+json")
    for icon in (await manifest.json())["icons"]:
        assert (await page.request.get(page.url + icon["src"])).headers["content-type"] == icon["type"]


async def look(page: Page, state: str) -> None:
    """Pictures of a state in every size and colour, and nothing for axe to find."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.screenshot(path=PICTURES / f"{size}-{scheme}-{state}.png")
            if (size, scheme) in {("wide", "light"), ("phone", "dark")}:
                found = await Axe().run(page)
                assert found.violations_count == 0, f"{state}, {size}, {scheme}: {found.generate_report()}"
        fits = (
            "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
        )
        assert await page.evaluate(fits), f"{state}, {size}: something sticks out"


async def test_before_a_call_it_looks_right_to_everybody(page: Page):
    await look(page, "welcome")
    await button(page, "Check mic").click()
    await expect_status(page, re.compile("^Your microphone works"))
    await look(page, "microphone-check")
    await button(page, "Stop check").click()
    await page.evaluate("navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); 0")
    await button(page, "Start talking").click()
    await expect_status(page, re.compile("^Allow the microphone"))
    await look(page, "asking")
    await tell(page, "queue", position=3, aheadS=90)
    await tell(page, "state", state="waiting", ending=None)
    await tell(page, "queue", position=3, aheadS=90)
    await look(page, "waiting")


# Pairs of things that lie on each other.
OVERLAPS = """() => {
  const things = [...document.querySelectorAll('header > *, .welcome > *, .stage, footer > *')];
  const boxes = things.map((thing) => [thing.id || thing.className || thing.tagName, thing.getBoundingClientRect()]);
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const seen = boxes.filter(([, { width, height }]) => width && height);
  const pairs = seen.flatMap((one, i) => seen.slice(i + 1).map((other) => [one, other]));
  return pairs.filter(([[, a], [, b]]) => meet(a, b)).map(([[a], [b]]) => [a, b]);
}"""


@pytest.mark.parametrize(("width", "height"), [(320, 256), (320, 480), (568, 320), (667, 331)])
async def test_where_there_is_little_room_nothing_lies_on_anything(page: Page, width: int, height: int):
    """320 by 256 is what is left of 1280 by 1024 for who sees everything four times as large."""
    await expect(page.locator("#notice")).to_contain_text("echo")
    await page.set_viewport_size({"width": width, "height": height})
    for hint in (False, True):
        await tell(page, "leak", heard=hint)
        assert await page.evaluate(OVERLAPS) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_in_a_call_it_looks_right_to_everybody(page: Page):
    await call(page)
    await say(page)
    await look(page, "call")
    for name in ("Volume", "Settings", "Save"):
        await button(page, name).click()
        if name == "Settings":
            await page.get_by_text("Advanced").click()
        await look(page, name.lower())
        await page.keyboard.press("Escape")
    await page.locator("#delay").click()
    await look(page, "delay")


async def test_whatever_happens_in_a_call_looks_right_to_everybody(page: Page):
    await call(page)
    await say(page)
    await tell(page, "leak", heard=True)
    await look(page, "headphones-hint")
    await button(page, "Dismiss").click()
    await page.get_by_role("searchbox").fill("river")
    await look(page, "find")
    await button(page, "Mute").click()
    await look(page, "muted")
    await button(page, "Record").click()
    await expect_status(page, re.compile("^Recording"))
    await tell(page, "state", state="reconnecting", ending=None)
    await tell(page, "lost", leftS=17)
    await expect_status(page, re.compile(r"^The connection was lost. Reconnecting… 1\d s$"))
    await look(page, "reconnecting")
    await tell(page, "gap", lostS=2.4)
    await tell(page, "drain", leftS=18)
    await expect_status(page, re.compile(r"^The server is about to restart, .* 1\d s$"))
    await look(page, "restarting")
    await button(page, "End call").click()
    await expect_status(page, "Call ended.")
    await look(page, "ended")


async def test_without_a_microphone_it_looks_right_to_everybody(browser: Browser, serve: Serve):
    page = await open_page(browser, (await serve("--model", "echo")).url, microphone=False)
    await button(page, "Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("blocked")
    await look(page, "refused")
    await page.context.close()


TOKEN = "a-token-of-the-operator"


async def test_the_token_of_the_address_opens_the_door_and_is_seen_no_more(browser: Browser, serve: Serve):
    server = await serve("--model", "echo", "--token", TOKEN)
    page = await open_page(browser, f"{server.url}#seed=7&token={TOKEN}")
    assert page.url == f"{server.url}#seed=7"
    await expect(page.locator("#model")).to_have_text("echo")
    await call(page)
    await page.reload()  # it is kept while the tab is open
    await call(page)
    assert TOKEN not in await page.evaluate("JSON.stringify(localStorage)")
    await page.context.close()


async def test_a_page_without_a_token_asks_for_it(browser: Browser, serve: Serve):
    server = await serve("--model", "echo", "--token", TOKEN)
    page = await open_page(browser, server.url)
    alert, field = page.get_by_role("alert"), page.get_by_label("Token")
    await expect(alert).to_contain_text("token")
    await expect(button(page, "Start talking")).to_be_disabled()
    await look(page, "token")
    for wrong, told in (("not one", "That is not a token"), (TOKEN[::-1], "not the right one")):
        await field.fill(wrong)
        await field.press("Enter")
        await expect(alert).to_contain_text(told)
    await field.fill(f"{server.url}#token={TOKEN}")  # as people paste it
    await button(page, "Open").click()
    await expect(alert).to_be_hidden()
    await expect(field).to_be_hidden()
    await call(page)
    await page.context.close()
