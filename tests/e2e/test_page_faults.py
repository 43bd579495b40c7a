"""What goes wrong around the page, and what it tells its user: hasty presses, unsaved words, devices, proxies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.e2e.browser import open_page
from tests.e2e.page_actions import (
    LIVE,
    MODEL_TEXT,
    SCREENSHOTS,
    button,
    check_looks,
    emit,
    expect_status,
    start_call,
)
from tests.e2e.scripted_server import WEB, ScriptedServer
from tests.e2e.test_page import read

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

INFO = {"name": "Parley", "model": "scripted", "demo": True, "slots": 2, "running": 0, "waiting": 0, "version": "0.1.0"}


@pytest_asyncio.fixture(loop_scope="session")
async def scripted() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        server.says_numbers = False
        server.info = dict(INFO)
        yield server


SEE_STATES = "window.seen = []; parley.call.addEventListener('state', ({ detail }) => seen.push(detail.state)); 0"


async def states(page: Page) -> list[str]:
    return await page.evaluate("window.seen.splice(0)")


async def test_hasty_press_neither_ends_a_call_that_begins_nor_begins_one_that_ends(
    pages: Browser, scripted: ScriptedServer
):
    page = await open_page(pages, scripted.url)
    await page.evaluate(SEE_STATES)
    await button(page, "Start talking").dblclick()
    await expect_status(page, LIVE)
    assert await states(page) == ["preparing", "connecting", "live"]
    await page.wait_for_timeout(700)
    await button(page, "End call").dblclick(delay=200)
    await expect_status(page, "Call ended.")
    await page.wait_for_timeout(300)
    assert await states(page) == ["ended"]
    assert await page.evaluate("parley.call.graph") is None

    await start_call(page)
    await states(page)
    # The call ends by itself just before the press that should end it.
    await page.evaluate("parley.call.stop(); document.getElementById('talk').click()")
    await page.wait_for_timeout(300)
    assert await states(page) == ["ended"]

    await page.wait_for_timeout(500)
    await button(page, "Start talking").focus()
    for _ in range(28):  # a key that is pressed again without being released repeats
        await page.keyboard.down("Enter")
        await page.wait_for_timeout(25)
    await page.keyboard.up("Enter")
    await expect_status(page, LIVE)
    assert await states(page) == ["preparing", "connecting", "live"]


async def say(page: Page, text: str) -> None:
    for word in text.split():
        await emit(page, "text", text=" " + word, span=1, atS=0)


LEAVING_ASKS = "!dispatchEvent(new Event('beforeunload', { cancelable: true }))"


async def test_unsaved_words_are_kept_when_a_call_starts_and_asked_for_when_the_page_is_left(
    pages: Browser, scripted: ScriptedServer
):
    page = await open_page(pages, scripted.url)
    for text in ("The first call.", "The second call."):
        await start_call(page)
        assert await page.evaluate(LEAVING_ASKS) == (text == "The second call.")
        await say(page, text)
        assert await page.evaluate(LEAVING_ASKS)
        await button(page, "End call").click()
        await expect(page.get_by_role("log")).to_have_text(text)
    await button(page, "Check mic").click()  # hides the transcript for a while
    await button(page, "Stop check").click()
    await expect(page.get_by_role("log")).to_be_visible()
    await start_call(page)
    await button(page, "Earlier calls").click()
    card = page.get_by_role("dialog", name="Earlier calls")
    await expect(card.locator("summary")).to_contain_text(["The second call.", "The first call."])
    await card.locator("summary").last.click()
    await check_looks(page, "earlier-calls")
    async with page.expect_download() as saved:
        await card.get_by_role("button", name="Save .txt").last.click()
    assert await read(await saved.value) == b"The first call.\n"
    assert await page.evaluate(LEAVING_ASKS)
    await card.locator("summary").first.click()
    async with page.expect_download() as saved:
        await card.get_by_role("button", name="Save .json").first.click()
    assert json.loads(await read(await saved.value))["call"] == "call-2"
    assert not await page.evaluate(LEAVING_ASKS)
    await page.keyboard.press("Escape")
    await say(page, MODEL_TEXT)
    assert await page.evaluate(LEAVING_ASKS)
    await button(page, "Save").click()
    async with page.expect_download():
        await page.get_by_role("dialog", name="Save").get_by_role("button", name="Text").click()
    assert not await page.evaluate(LEAVING_ASKS)


SILENT_MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => {
  const context = (window.quiet = new AudioContext({ sampleRate: 48000 }));
  window.gain = new GainNode(context, { gain: 0 });
  const output = new MediaStreamAudioDestinationNode(context);
  const source = new OscillatorNode(context);
  source.connect(gain).connect(output);
  source.start();
  return output.stream;
};
"""


async def test_microphone_that_gives_no_sound_is_told_within_three_seconds(pages: Browser, scripted: ScriptedServer):
    page = await open_page(pages, scripted.url, init=SILENT_MICROPHONE)
    await page.evaluate("""() => {
      parley.call.addEventListener('state', ({ detail }) => {
        if (detail.state === 'live') window.liveAt = Date.now();
      });
      parley.call.addEventListener('silence', () => (window.toldAt ??= Date.now()));
    }""")
    await start_call(page)
    await expect(page.get_by_role("status")).to_contain_text("No sound comes from your microphone")
    assert await page.evaluate("toldAt - liveAt") < 3000
    await page.evaluate("gain.gain.value = 0.1")
    await expect_status(page, LIVE)
    muted = "(muted) => { const [track] = parley.call.graph.stream.getAudioTracks();"
    muted += "Object.defineProperty(track, 'muted', { value: muted, configurable: true });"
    muted += "track.dispatchEvent(new Event(muted ? 'mute' : 'unmute')); }"
    await page.evaluate("gain.gain.value = 0")
    await page.evaluate(muted, True)
    await expect(page.get_by_role("status")).to_contain_text("has muted the microphone")
    await page.evaluate("gain.gain.value = 0.1")
    await page.evaluate(muted, False)
    await expect_status(page, LIVE)


async def test_sound_that_the_system_interrupts_is_told_and_goes_on_with_a_press(
    pages: Browser, scripted: ScriptedServer
):
    scripted.says_numbers = True
    page = await open_page(pages, scripted.url)
    await page.evaluate("""() => {
      window.texts = [];
      parley.call.addEventListener('text', ({ detail }) => texts.push(detail.atS));
    }""")
    await start_call(page)
    await page.wait_for_function("() => texts.length > 12")
    await page.evaluate("""async () => {
      window.resumed = 0;
      const { context } = parley.call.graph, resume = context.resume.bind(context);
      context.resume = () => (resumed++, resume());
      await context.suspend();
    }""")
    await expect(page.get_by_role("status")).to_contain_text("has paused the sound")
    shown = await page.locator("[data-elapsed]").text_content()
    before = await page.evaluate("texts.length")
    await page.wait_for_timeout(2500)
    assert await page.evaluate("resumed") == 0, "nobody has pressed anything"
    assert await page.locator("[data-elapsed]").text_content() == shown, "the clock stands"
    await page.locator(".stage").click()
    await expect_status(page, LIVE)
    assert await page.evaluate("resumed") == 1
    await expect(page.get_by_role("log")).to_contain_text("The sound was paused for")
    await page.wait_for_function("(count) => texts.length > count + 12", arg=before)
    times = await page.evaluate("texts")
    clock = await page.evaluate("parley.call.callTimeS(parley.call.graph.context.currentTime)")
    assert times == sorted(times) and clock - times[-1] < 0.5
    steps = [later - earlier for earlier, later in zip(times[before + 2 :], times[before + 3 :], strict=False)]
    assert sum(step < 0.01 for step in steps) <= 2, "what was said meanwhile comes in a burst"


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/page/main.js", 403, "Host header"),
        ("/page/ui/dom.js", 503, "not ready (503)"),
        ("/page/style/page.css", 404, "missing"),
    ],
)
async def test_part_of_the_page_that_does_not_come_is_told(
    pages: Browser, scripted: ScriptedServer, path: str, status: int, told: str
):
    scripted.statuses[path] = status
    page = await open_page(pages, scripted.url)
    if path.endswith(".js"):
        await expect(page.get_by_role("alert")).to_contain_text(path)
        await expect(page.get_by_role("alert")).to_contain_text(told)
        await expect(button(page, "Start talking")).to_be_disabled()
        await page.screenshot(path=SCREENSHOTS / f"failed-{status}.png")
    else:  # the page works without its looks
        await expect(button(page, "Start talking")).to_be_enabled()


async def test_page_without_any_of_its_scripts_says_so_and_its_button_is_inert(
    pages: Browser, scripted: ScriptedServer
):
    """As at an address that lacks the slash at its end: only the document comes."""
    scripted.pages["/parley"] = (WEB / "index.html").read_text().replace('="page/', '="elsewhere/')
    page = await open_page(pages, scripted.url + "parley")
    await expect(page.locator("#loading")).to_be_visible()
    await expect(page.locator("#loading")).to_contain_text("slash at the end")
    await expect(button(page, "Start talking")).to_be_disabled()


async def test_page_that_works_shows_no_line_about_loading(pages: Browser, scripted: ScriptedServer):
    page = await open_page(pages, scripted.url)
    await expect(button(page, "Start talking")).to_be_enabled()
    await expect(page.locator("#loading")).to_have_count(0)


async def test_proxy_that_passes_no_websockets_is_told_as_such(pages: Browser, scripted: ScriptedServer):
    scripted.statuses["/api/chat"] = 400
    page = await open_page(pages, scripted.url)
    await button(page, "Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("A proxy may not pass WebSockets")
    assert scripted.info
    scripted.info |= {"running": 2, "waiting": 3, "limits": {"max_waiting": 3}}
    await button(page, "Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("busy")


async def test_page_older_than_its_server_says_reload(pages: Browser, scripted: ScriptedServer):
    page = await open_page(pages, scripted.url)
    await expect(page.locator("#model")).to_have_text("scripted")
    assert scripted.info
    scripted.info["version"] = "0.2.0"
    await button(page, "Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("updated")
    await expect(page.get_by_role("alert")).to_contain_text("Reload the page")
    assert await page.evaluate("parley.call.graph") is None
    await page.reload()
    await start_call(page)


async def test_network_holds_only_the_network(pages: Browser, scripted: ScriptedServer):
    """A model that lags a frame behind is not a slow network."""
    assert scripted.info
    scripted.info["delay_frames"] = 1
    scripted.delay_frames = 1
    page = await open_page(pages, scripted.url)
    await page.evaluate("parley.call.addEventListener('delay', ({ detail }) => (window.delay = detail)); 0")
    await start_call(page)
    await page.wait_for_function("() => window.delay")
    await page.wait_for_timeout(1500)
    delay = await page.evaluate("window.delay")
    assert delay["networkMs"] < 40
    assert delay["stepMs"] == 80
    parts = ("captureMs", "networkMs", "waitMs", "stepMs", "playoutMs")
    assert sum(delay[part] for part in parts) == pytest.approx(delay["totalMs"])


async def test_microphone_forbidden_by_the_embedding_page_has_its_own_sentence(
    pages: Browser, scripted: ScriptedServer
):
    scripted.pages["/inner"] = (WEB / "index.html").read_text()
    scripted.pages["/outer"] = """<iframe src="/inner" allow="microphone 'none'" width="800" height="600"></iframe>"""
    page = await open_page(pages, scripted.url + "outer")
    frame = page.frame_locator("iframe")
    await frame.get_by_role("button", name="Start talking").click()
    await expect(frame.get_by_role("alert")).to_contain_text("does not let it use the microphone")


# How many pixels of the timeline have another colour than its corner.
DRAWN = """() => {
  const canvas = document.getElementById('waveform'), pen = canvas.getContext('2d');
  const pixels = new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return pixels.filter((pixel) => pixel !== pixels[pixels.length - 1]).length / pixels.length;
}"""


async def test_visitor_learns_before_the_press_what_to_say_and_how_long_to_wait(
    pages: Browser, scripted: ScriptedServer
):
    assert scripted.info
    scripted.info |= {"running": 2, "waiting": 1, "limits": {"max_waiting": 1}, "examples": ["Tell me a joke."]}
    page = await open_page(pages, scripted.url)
    await expect(page.locator(".welcome")).to_contain_text("Try “Tell me a joke.”")
    await expect_status(page, "The server is busy, and its queue is full. Try again in a few minutes.")
    scripted.info |= {"running": 1}
    icons = "[...document.querySelectorAll('#mic use, #talk use')].map((icon) => icon.getAttribute('href'))"
    assert len(await page.evaluate(f"[...new Set({icons})]")) == 4, "checking and talking look the same"
    await expect_status(page, "")


async def test_welcome_after_a_refusal_is_whole(pages: Browser, scripted: ScriptedServer):
    page = await open_page(pages, scripted.url)
    before = await page.evaluate(DRAWN)
    scripted.statuses["/api/chat"] = 400  # the timeline has started by then
    await button(page, "Start talking").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    assert await page.evaluate(DRAWN) > 0.7 * before > 0.02


async def test_text_that_is_written_from_the_right_is_shown_so(pages: Browser, scripted: ScriptedServer):
    page = await open_page(pages, scripted.url)
    await start_call(page)
    await say(page, "שלום, מה שלומך?")
    direction = "getComputedStyle(document.querySelector('#transcript p')).direction"
    assert await page.evaluate(direction) == "rtl"
    await button(page, "End call").click()
    await expect(page.get_by_role("heading", name="The call has ended.")).to_be_visible()
