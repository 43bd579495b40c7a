"""The page's controls besides talking, by mouse and by keyboard alone."""

from __future__ import annotations

import asyncio
import io
import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Browser, Download, Page, Route, expect

from tests.e2e.browser import open_page
from tests.e2e.conftest import StartServer
from tests.e2e.page_actions import (
    LIVE,
    MODEL_TEXT,
    button,
    check_looks,
    expect_status,
    show_model_text,
    start_call,
)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def read(download: Download) -> bytes:
    return await asyncio.to_thread(Path(await download.path()).read_bytes)


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


# The mean of a voice's levels over one second.
LOUDNESS = """(voice) => new Promise((done) => {
  const levels = [];
  parley.call.addEventListener('level', function listen({ detail }) {
    if (detail.voice === voice) levels.push(detail.rms);
    if (levels.length < 47) return;
    parley.call.removeEventListener('level', listen);
    done(levels.reduce((sum, rms) => sum + rms, 0) / levels.length);
  });
})"""


async def test_page_can_be_used_by_keyboard_alone(echo_page: Page):
    press = echo_page.keyboard.press
    await press("Tab")
    await expect(button(echo_page, "Check mic")).to_be_focused()
    await press("Tab")
    await press("Enter")
    await expect_status(echo_page, LIVE)
    # The space bar must not end the call that it started, so the focus is now on the microphone button.
    await expect(button(echo_page, "Mute")).to_be_focused()
    await press("Enter")
    await expect_status(echo_page, re.compile("^Muted"))
    await echo_page.keyboard.down("Space")
    await expect_status(echo_page, re.compile("^You can be heard"))
    await echo_page.wait_for_timeout(400)  # longer than a tap
    await echo_page.wait_for_timeout(500)  # a shorter press would be a tap, which unmutes
    await echo_page.keyboard.up("Space")
    await expect_status(echo_page, re.compile("^Muted"))
    await press("Enter")
    await expect_status(echo_page, LIVE)
    for _ in range(2):
        await press("Tab")
    await press("Enter")
    await expect(echo_page.get_by_role("dialog", name="Settings")).to_be_visible()
    await expect(button(echo_page, "Done")).to_be_focused()
    await press("Escape")
    await expect(button(echo_page, "Settings")).to_be_focused()
    await press("Shift+Tab")
    await press("Space")
    await expect_status(echo_page, "Call ended.")
    await expect(button(echo_page, "Start talking")).to_be_focused()


async def test_muted_microphone_is_open_while_the_space_bar_is_held(echo_page: Page):
    await start_call(echo_page)
    await button(echo_page, "Mute").click()
    await echo_page.wait_for_timeout(1000)  # earlier sound is still on its way
    assert await echo_page.evaluate(LOUDNESS, "model") < 0.001
    await echo_page.keyboard.down("Space")
    loud = "detail.voice === 'model' && detail.rms > 0.01"
    listen = f"parley.call.addEventListener('level', ({{ detail }}) => {loud} && done(true))"
    await echo_page.wait_for_function(f"() => new Promise((done) => {listen})")
    await echo_page.wait_for_timeout(500)  # a shorter press would be a tap, which unmutes
    await echo_page.keyboard.up("Space")
    await expect_status(echo_page, re.compile("^Muted"))


async def test_click_without_pointer_or_key_mutes_and_unmutes(echo_page: Page):
    """Some screen readers click like this."""
    await start_call(echo_page)
    press = "document.getElementById('mic').click()"
    await echo_page.evaluate(press)
    await expect_status(echo_page, re.compile("^Muted"))
    await echo_page.wait_for_timeout(400)  # longer than a tap
    await echo_page.evaluate(press)
    await expect_status(echo_page, LIVE)


async def test_microphone_check_starts_no_call_and_closes_the_microphone(echo_page: Page):
    await button(echo_page, "Check mic").click()
    await expect_status(echo_page, re.compile("^Your microphone works"))
    assert await echo_page.evaluate("parley.call.inCall") is False
    await button(echo_page, "Stop check").click()
    await expect_status(echo_page, "")
    assert await echo_page.evaluate("parley.call.graph") is None


async def test_recording_has_both_voices(echo_page: Page):
    await start_call(echo_page)
    await button(echo_page, "Record").click()
    await echo_page.wait_for_timeout(3000)
    await button(echo_page, "End call").click()
    await expect(echo_page.locator("#recorded")).to_contain_text(re.compile(r"Recording of 0:0\d"))
    async with echo_page.expect_download() as saved:
        await echo_page.locator("#recorded").get_by_role("button", name="Save").click()
    download = await saved.value
    assert re.fullmatch(r"parley-.*\.wav", download.suggested_filename)
    with wave.open(io.BytesIO(await read(download))) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24000)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32768
    assert 1 < len(sound) / 24000 < 30
    assert np.sqrt(np.mean(sound**2, axis=0)).min() > 0.005
    await expect(echo_page.locator("#recorded")).to_be_hidden()


async def test_transcript_is_found_copied_and_saved(echo_page: Page):
    await echo_page.context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"])
    await start_call(echo_page)
    await show_model_text(echo_page)
    await echo_page.get_by_role("searchbox").fill("hear you. rivers")
    await expect(echo_page.locator("#found")).to_have_text("1 of 1")
    assert await echo_page.evaluate("[...CSS.highlights.get('found')].map(String)") == ["hear you. Rivers"]
    await echo_page.get_by_role("searchbox").fill("")
    await button(echo_page, "Copy").click()
    await expect_status(echo_page, "Copied.")
    assert (await echo_page.evaluate("navigator.clipboard.readText()")).strip() == MODEL_TEXT
    for name, ending in (("Text", "txt"), ("With times", "json"), ("Subtitles", "vtt")):
        await button(echo_page, "Save").click()
        async with echo_page.expect_download() as saved:
            await echo_page.get_by_role("dialog", name="Save").get_by_role("button", name=name).click()
        download = await saved.value
        assert download.suggested_filename.endswith("." + ending)
        assert b"never hurry" in await read(download)
    await echo_page.locator("#delay").click()
    await button(echo_page, "Copy report").click()
    assert "Rivers" not in (report := await echo_page.evaluate("navigator.clipboard.readText()"))
    assert re.search(r"mouth-to-ear delay: p50 \d+ ms", report) and "live 0:0" in report
    await echo_page.keyboard.press("Escape")
    await button(echo_page, "End call").click()
    await echo_page.locator("#delay").click()
    await button(echo_page, "Copy report").click()
    await echo_page.wait_for_function(
        "async () => (await navigator.clipboard.readText()).includes('ended (by caller)')"
    )


async def test_link_sets_the_settings_and_a_button_restores_the_defaults(echo_page: Page):
    await echo_page.goto(echo_page.url + "#text_temperature=0.5&seed=7")
    await start_call(echo_page)
    await echo_page.wait_for_function("() => parley.call.seed === 7")  # the server has confirmed it
    await button(echo_page, "Settings").click()
    await echo_page.get_by_text("Advanced").click()
    await expect(echo_page.get_by_label("Text temperature")).to_have_value("0.5")
    await expect(echo_page.get_by_text("This call: 7")).to_be_visible()
    await button(echo_page, "Defaults").click()
    await expect(echo_page.get_by_label("Text temperature")).to_have_value("0.7")
    assert await echo_page.evaluate("parley.call.choices") == {}
    await button(echo_page, "Use this call’s seed").click()
    assert await echo_page.evaluate("parley.call.choices") == {"seed": 7}


async def test_voices_of_the_server_are_offered(echo_page: Page):
    async def with_voices(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(json={**await response.json(), "voices": ["NATF0", "NATM1"], "prompts": []})

    await echo_page.route("**/api/info", with_voices)
    await echo_page.goto(echo_page.url + "#voice=NATM1")
    await echo_page.reload()
    await button(echo_page, "Settings").click()
    await expect(echo_page.get_by_role("combobox", name="Voice", exact=True)).to_have_value("NATM1")
    await echo_page.get_by_role("combobox", name="Voice", exact=True).select_option("NATF0")
    assert await echo_page.evaluate("parley.call.choices") == {"voice": "NATF0"}
    await expect(echo_page.get_by_role("combobox", name="Role")).to_be_hidden()


async def test_recommended_settings_of_the_model_are_the_defaults(echo_page: Page):
    async def with_params(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(json={**await response.json(), "params": {"text_temperature": 0.3}})

    await echo_page.route("**/api/info", with_params)
    await echo_page.reload()
    await button(echo_page, "Settings").click()
    await echo_page.get_by_text("Advanced").click()
    field = echo_page.get_by_label("Text temperature")
    await expect(field).to_have_value("0.3")
    assert await echo_page.evaluate("parley.call.choices") == {}
    await field.fill("0.7")
    await field.blur()
    assert await echo_page.evaluate("parley.call.choices") == {"text_temperature": 0.7}
    await button(echo_page, "Defaults").click()
    await expect(field).to_have_value("0.3")


async def test_microphone_and_speaker_are_stored_and_nothing_else(echo_page: Page):
    await button(echo_page, "Check mic").click()
    await expect_status(echo_page, re.compile("^Your microphone works"))
    await button(echo_page, "Settings").click()
    menu = echo_page.get_by_role("combobox", name="Microphone", exact=True)
    await menu.select_option(index=1)
    await echo_page.wait_for_function("() => localStorage.length === 1")
    chosen = await menu.input_value()
    await echo_page.get_by_label("Suppress noise").click()
    await echo_page.reload()
    kept = await echo_page.evaluate("({ ...localStorage })")
    assert [json.loads(value) for value in kept.values()] == [{"microphone": chosen, "speaker": ""}]
    asked = "navigator.mediaDevices.getUserMedia = async (wish) => { window.asked = wish; throw new Error('no'); }; 0"
    await echo_page.evaluate(asked)
    await button(echo_page, "Start talking").click()
    await echo_page.wait_for_function("() => window.asked")
    assert await echo_page.evaluate("asked.audio.deviceId") == {"exact": chosen}


async def test_server_records_only_callers_who_allow_it(browser: Browser, serve: StartServer, tmp_path: Path):
    page = await open_page(browser, (await serve("--model", "echo", "--record", str(tmp_path))).url)
    await start_call(page)
    await page.wait_for_timeout(500)
    await expect(page.locator("#server-recording")).to_be_hidden()
    await button(page, "End call").click()
    assert not files_in(tmp_path)
    await button(page, "Settings").click()
    allowed = page.get_by_label("Let the server record")
    await expect(allowed).not_to_be_checked()
    await allowed.check()
    await check_looks(page, "consent")
    await page.keyboard.press("Escape")
    await button(page, "Start talking").click()
    await expect_status(page, re.compile("^The server records this call"))
    await expect(page.locator("#server-recording")).to_be_visible()
    await check_looks(page, "recorded-there")
    await button(page, "End call").click()
    await expect(page.locator("#server-recording")).to_be_hidden()
    assert files_in(tmp_path)
    await page.context.close()


async def test_server_recording_is_not_offered_where_the_server_does_not_record(echo_page: Page):
    await expect(echo_page.locator("#notice")).to_contain_text("echo")
    await button(echo_page, "Settings").click()
    await expect(echo_page.get_by_label("Let the server record")).to_be_hidden()


async def test_page_can_be_installed(echo_page: Page):
    manifest = await echo_page.request.get(echo_page.url + "manifest.webmanifest")
    assert manifest.headers["content-type"].startswith("application/manifest+json")
    for icon in (await manifest.json())["icons"]:
        assert (await echo_page.request.get(echo_page.url + icon["src"])).headers["content-type"] == icon["type"]


TOKEN = "a-token-of-the-operator"


async def test_token_in_the_address_is_used_and_removed(browser: Browser, serve: StartServer):
    server = await serve("--model", "echo", "--token", TOKEN)
    page = await open_page(browser, f"{server.url}#seed=7&token={TOKEN}")
    assert page.url == f"{server.url}#seed=7"
    await expect(page.locator("#model")).to_have_text("echo")
    await start_call(page)
    await page.reload()  # the token is kept while the tab is open
    await start_call(page)
    assert TOKEN not in await page.evaluate("JSON.stringify(localStorage)")
    await page.context.close()


async def test_page_without_a_token_asks_for_it(browser: Browser, serve: StartServer):
    server = await serve("--model", "echo", "--token", TOKEN)
    page = await open_page(browser, server.url)
    alert, field = page.get_by_role("alert"), page.get_by_label("Token")
    await expect(alert).to_contain_text("token")
    await expect(button(page, "Start talking")).to_be_disabled()
    await check_looks(page, "token")
    for wrong, told in (("not one", "not a valid token"), (TOKEN[::-1], "Invalid token")):
        await field.fill(wrong)
        await field.press("Enter")
        await expect(alert).to_contain_text(told)
    await field.fill(f"{server.url}#token={TOKEN}")  # the whole address was pasted
    await button(page, "Continue").click()
    await expect(alert).to_be_hidden()
    await expect(field).to_be_hidden()
    await start_call(page)
    await page.context.close()


async def test_recording_begun_late_has_the_transcripts_zero(echo_page: Page):
    """Subtitles fit the recording: it begins where the call did, and is silent until Record was pressed."""
    await start_call(echo_page)
    await echo_page.wait_for_timeout(2500)
    pressed_s = await echo_page.evaluate("parley.call.callTimeS(parley.call.graph.context.currentTime)")
    await button(echo_page, "Record").click()
    await echo_page.wait_for_timeout(1500)
    ended_s = await echo_page.evaluate("parley.call.callTimeS(parley.call.graph.context.currentTime)")
    await button(echo_page, "End call").click()
    await expect(echo_page.locator("#recorded")).to_contain_text("The file begins where the call did")
    async with echo_page.expect_download() as saved:
        await echo_page.locator("#recorded").get_by_role("button", name="Save").click()
    with wave.open(io.BytesIO(await read(await saved.value))) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert abs(len(sound) / 24000 - ended_s) < 0.7
    assert abs(np.flatnonzero(sound.any(axis=1))[0] / 24000 - pressed_s) < 0.7
