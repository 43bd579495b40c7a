"""The embeddable client, `web/client/parley.js`, on pages other than ours."""

from __future__ import annotations

import itertools
import re
import statistics
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.browser import open_page
from tests.e2e.client_page import TIMEOUT_MS, details, open_empty_page, start_call, until
from tests.e2e.conftest import StartServer
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.scripted_server import RESUME_S, ScriptedServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WEB = Path(__file__).parents[2] / "web"


async def test_documented_example_makes_a_call_from_another_site(pages: Browser, scripted_server: ScriptedServer):
    documented = re.search(r"\* {5}(<button.*?</script>)", (WEB / "client" / "parley.js").read_text(), re.S)
    assert documented
    lines = re.sub(r"\n \* ?", "\n", documented[1])
    assert len(lines.splitlines()) <= 10
    async with ScriptedServer() as elsewhere:
        elsewhere.pages["/theirs"] = lines.replace("https://talk.example.com/", scripted_server.url)
        page = await open_page(pages, elsewhere.url + "theirs")
        talk = page.get_by_role("button")
        await talk.click()
        await expect(talk).to_have_text("live", timeout=TIMEOUT_MS)
        await expect(page.locator("#transcript")).to_contain_text("0 1 2 3", timeout=TIMEOUT_MS)
        await talk.click()
        await expect(talk).to_have_text("ended")


async def test_call_sends_events_in_order(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(
        pages, scripted_server.url + "bare", choices={"voice": "NATF2", "text_topk": 25, "prompt": ""}
    )
    fetched: list[str] = []
    page.context.on("request", lambda request: fetched.append(request.url))
    await start_call(page)
    await until(page, "details('delay').length > 3 && details('text').length > 20")
    assert await page.evaluate("[call.seed, call.callId]") == [7, "call-1"]
    assert scripted_server.queries == [{"events": ["1"], "voice_prompt": ["NATF2"], "text_topk": ["25"]}]
    await page.evaluate("call.stop()")
    assert [state["state"] for state in await details(page, "state")] == ["preparing", "connecting", "live", "ended"]
    assert (await details(page, "ended")) == [{"by": "caller"}]
    for delay in await details(page, "delay"):
        parts = [delay[part] for part in ("captureMs", "networkMs", "waitMs", "stepMs", "playoutMs")]
        assert sum(parts) == pytest.approx(delay["totalMs"])
    heard = [level["rms"] for level in await details(page, "level") if level["voice"] == "user"]
    assert max(heard) > 0.01
    assert not [url for url in fetched if "vendor" in url]
    assert await page.evaluate("call.graph") is None


async def test_call_asks_for_recording_only_when_allowed(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await page.evaluate("() => { call.stop(); call.record = true; }")
    await start_call(page)
    assert [query.get("record") for query in scripted_server.queries] == [None, ["1"]]
    await scripted_server.send(b'\x04{"type": "recording", "on": false}')
    await until(page, "last.recording?.on === false")


async def test_text_event_comes_when_the_piece_begins_to_sound(pages: Browser, scripted_server: ScriptedServer):
    """The server sends a number with every frame of 80 ms."""
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await until(page, "details('text').length > 40")
    words = await details(page, "text")
    assert [int(word["text"]) for word in words] == list(range(len(words)))
    apart = [after["atS"] - before["atS"] for before, after in itertools.pairwise(words)]
    assert statistics.median(apart) == pytest.approx(0.08, abs=0.022)  # measured in spans of 21 ms
    assert words[0]["atS"] > 0.08
    # Each piece's span also has a level of the model's voice, so that the waveform can show the piece there.
    spans = {level["span"] for level in await details(page, "level") if level["voice"] == "model"}
    assert {word["span"] for word in words[:-1]} <= spans


async def test_call_without_webcodecs_uses_webassembly(pages: Browser, scripted_server: ScriptedServer):
    scripted_server.prepended["/client/net/worker.js"] = "delete self.AudioEncoder;\n"
    page = await open_empty_page(pages, scripted_server.url + "bare")
    fetched: list[str] = []
    page.context.on("request", lambda request: fetched.append(request.url))
    await start_call(page)
    await until(page, "details('delay').length > 1")
    await until(page, "details('level').some(({ voice, rms }) => voice === 'model' && rms > 0.01)")
    assert any("vendor" in url for url in fetched)


async def test_socket_that_the_browser_forbids_ends_the_call_with_its_error(
    pages: Browser, scripted_server: ScriptedServer
):
    forbids = "self.WebSocket = class { constructor() { throw new DOMException('not from here', 'SecurityError'); } };"
    scripted_server.prepended["/client/net/worker.js"] = forbids + "\n"
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await page.evaluate("() => { call.start(); }")
    await until(page, "call.state === 'ended'")
    failure = await page.evaluate("[last.ended.failure.code, last.ended.failure.detail]")
    assert failure[0] == "broken" and "not from here" in failure[1]


async def test_undecodable_packet_is_concealed_and_the_call_goes_on(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await until(page, "details('delay').length > 1")
    await scripted_server.send(b"\x01\xff\xff\xff\x01")
    await until(page, "details('counts').some(({ concealed }) => concealed > 0)")
    before = len(await details(page, "text"))
    await until(page, f"details('text').length > {before + 10}")
    assert await page.evaluate("call.state") == "live"


async def test_call_on_a_page_of_another_site(pages: Browser, scripted_server: ScriptedServer):
    async with ScriptedServer() as elsewhere:
        elsewhere.pages["/theirs"] = ""
        page = await open_empty_page(pages, elsewhere.url + "theirs", url=scripted_server.url)
        await start_call(page)
        await until(page, "details('delay').length > 1")
    assert len(scripted_server.queries) == 1


async def test_silent_connection_that_can_be_resumed_is_closed_soon(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await until(page, "details('delay').length > 1")
    scripted_server.is_silent = True
    await until(page, "call.state === 'reconnecting'")
    scripted_server.is_silent = False
    await until(page, "details('resumed').length === 1")
    [gap] = await details(page, "resumed")
    assert gap["lostS"] > 2.9, "the silence before the close counts as lost"
    assert scripted_server.close_codes == [4000], "a normal close would have ended the conversation"


async def test_lost_connection_resumes_the_conversation(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo")
    async with FaultProxy(server.url) as proxy:
        page = await open_empty_page(pages, proxy.url + "page/fonts/OFL.txt", url=proxy.url)
        await start_call(page)
        first = await page.evaluate("call.callId")
        proxy.drop_connections()
        await until(page, "call.state === 'live' && details('resumed').length === 1")
        [gap] = await details(page, "resumed")
        assert 0 < gap["lostS"] < 20
        assert await page.evaluate("call.callId") == first
        states = [state["state"] for state in await details(page, "state")]
        assert states == ["preparing", "connecting", "live", "reconnecting", "live"]
        await until(page, "details('delay').length > 1")


async def test_resume_token_is_renewed_by_every_connection(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    for cuts in (1, 2):
        await until(page, f"details('text').length > {10 * cuts} && call.state === 'live'")
        scripted_server.drop_connections()
        await until(page, f"details('resumed').length === {cuts}")
    assert all(lost["leftS"] == pytest.approx(RESUME_S, abs=3) for lost in await details(page, "disconnected"))
    assert scripted_server.tokens == ["", "token-1", "token-2"]
    states = [state["state"] for state in await details(page, "state")]
    assert states == ["preparing", "connecting", "live", *["reconnecting", "live"] * 2]
    spoken = [word["atS"] for word in await details(page, "text")]
    assert spoken == sorted(spoken)


async def test_lost_conversation_ends_the_call_instead_of_starting_a_new_one(
    pages: Browser, scripted_server: ScriptedServer
):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await until(page, "details('text').length > 3")
    scripted_server.forget_call()
    scripted_server.drop_connections()
    await until(page, "call.state === 'ended'")
    assert await page.evaluate("last.ended.failure.code") == "conversation-lost"
    assert scripted_server.tokens == ["", "token-1"]
    scripted_server.keeps_calls = False
    await start_call(page)
    scripted_server.drop_connections()
    await until(page, "call.state === 'ended'")
    assert await page.evaluate("last.ended.failure.code") == "connection-lost"
    assert scripted_server.tokens == ["", "token-1", ""]


async def test_call_ended_by_the_server_plays_to_its_end(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await until(page, "details('text').length > 10")
    await scripted_server.send(b"\x02 goodbye")
    for packet in scripted_server.last_frame:
        await scripted_server.send(packet)
    await scripted_server.end_calls("limit")
    await until(page, "call.state === 'ended'")
    assert (await details(page, "text"))[-1]["text"] == " goodbye"
    told = await page.evaluate("seen.map(({ type }) => type)")
    assert "text" not in told[told.index("ended") :]
    assert await page.evaluate("call.graph") is None


async def test_call_behind_a_path_prefix_and_tls(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo")
    async with FaultProxy(server.url, prefix="/talk/", tls=True) as proxy:
        page = await open_empty_page(pages, proxy.url + "page/fonts/OFL.txt", url=proxy.url)
        await start_call(page)
        await until(page, "details('delay').length > 1")
        assert (await page.evaluate("call.info()"))["model"] == "echo"


async def test_page_that_hangs_does_not_interrupt_the_call(pages: Browser, scripted_server: ScriptedServer):
    """The call runs in a worker and in worklets, so it goes on while the page's thread is blocked for 3 s."""
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await start_call(page)
    await until(page, "details('delay').length > 3")
    packets, span = scripted_server.received_packets, await page.evaluate("details('level').at(-1).span")
    await page.evaluate("() => { for (const end = performance.now() + 3000; performance.now() < end; ); }")
    assert scripted_server.received_packets - packets > 100, "of 150"
    await until(page, f"details('level').at(-1).span > {span} + 130")  # reported only now, but measured when it sounded
    levels = [level for level in await details(page, "level") if span < level["span"] < span + 130]
    sounding = {voice: sum(x["rms"] > 0.003 for x in levels if x["voice"] == voice) for voice in ("user", "model")}
    assert sounding["model"] > 0.5 * sounding["user"] > 20
