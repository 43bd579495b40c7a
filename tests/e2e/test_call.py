"""`web/parley.js` on a page of somebody else: the call itself, without the page's own controls."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.e2e.browsing import open_page
from tests.e2e.conftest import Serve
from tests.e2e.lines import RESUME_S, CuttableLine, PuppetServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WEB = Path(__file__).parents[2] / "web"
PATIENCE_MS = 30_000
# A call whose every event is kept, and a promise for those to come.
CALL = """async (options) => {
  const { Parley } = await import(new URL('parley.js', options.url ?? location.href).href);
  const call = (window.call = new Parley(options.url, options));
  [window.seen, window.last] = [[], {}];
  window.until = async (test, patienceMs) => {
    for (const end = performance.now() + patienceMs; !test(); await new Promise((done) => setTimeout(done, 20)))
      if (performance.now() > end) throw new Error(`not within patience: ${test}; ${JSON.stringify(window.last)}`);
  };
  window.details = (type) => window.seen.filter((event) => event.type === type).map(({ detail }) => detail);
  const types = ['state', 'ended', 'queue', 'words', 'level', 'delay', 'counts', 'device', 'devices',
    'leak', 'lost', 'gap', 'recording'];
  for (const type of types) call.addEventListener(type, ({ detail }) => {
    window.last[type] = detail;
    window.seen.push({ type, detail });
  });
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def puppet() -> AsyncIterator[PuppetServer]:
    async with PuppetServer() as server:
        yield server


async def open_bare(pages: Browser, address: str, init: str = "", **options: Any) -> Page:
    """A page that runs nothing, and a call on it."""
    page = await open_page(pages, address, init=init)
    await page.evaluate(CALL, options)
    return page


async def go_live(page: Page) -> None:
    await page.evaluate("() => { call.start(); }")
    await until(page, "call.state === 'live'")


async def until(page: Page, condition: str) -> None:
    await page.evaluate(f"until(() => {condition}, {PATIENCE_MS})")


async def details(page: Page, kind: str) -> list[Any]:
    return await page.evaluate("(kind) => details(kind)", kind)


async def test_the_ten_lines_of_the_documentation_are_a_call(pages: Browser, puppet: PuppetServer):
    documented = re.search(r"\* {5}(<button.*?</script>)", (WEB / "parley.js").read_text(), re.S)
    assert documented
    lines = re.sub(r"\n \* ?", "\n", documented[1])
    assert len(lines.splitlines()) <= 10
    puppet.pages["/mine"] = lines
    page = await open_page(pages, puppet.url + "mine")
    talk = page.get_by_role("button")
    await talk.click()
    await expect(talk).to_have_text("live", timeout=PATIENCE_MS)
    await expect(page.locator("#said")).to_contain_text("0 1 2 3", timeout=PATIENCE_MS)
    await talk.click()
    await expect(talk).to_have_text("ended")


async def test_a_call_s_events_say_what_happens(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare", choices={"voice": "NATF2", "text_topk": 25, "prompt": ""})
    fetched: list[str] = []
    page.context.on("request", lambda request: fetched.append(request.url))
    await go_live(page)
    await until(page, "details('delay').length > 3 && details('words').length > 20")
    assert await page.evaluate("[call.seed, call.callId]") == [7, "call-1"]
    assert puppet.queries == [{"events": ["1"], "voice_prompt": ["NATF2"], "text_topk": ["25"]}]
    await page.evaluate("call.stop()")
    assert [state["state"] for state in await details(page, "state")] == ["preparing", "dialling", "live", "ended"]
    assert (await details(page, "ended")) == [{"by": "caller"}]
    for delay in await details(page, "delay"):
        parts = [delay[part] for part in ("captureMs", "networkMs", "waitMs", "stepMs", "playoutMs")]
        assert sum(parts) == pytest.approx(delay["totalMs"])
    heard = [level["rms"] for level in await details(page, "level") if level["voice"] == "user"]
    assert max(heard) > 0.01
    assert not [url for url in fetched if "vendor" in url]
    assert await page.evaluate("call.graph") is None


async def test_the_server_may_record_only_who_allows_it(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await page.evaluate("() => { call.stop(); call.record = true; }")
    await go_live(page)
    assert [query.get("record") for query in puppet.queries] == [None, ["1"]]
    await puppet.send(b'\x04{"type": "recording", "on": false}')
    await until(page, "last.recording?.on === false")


async def test_words_are_told_when_they_begin_to_sound(pages: Browser, puppet: PuppetServer):
    """The puppet says a number with every frame, and a frame lasts 80 ms."""
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await until(page, "details('words').length > 40")
    words = await details(page, "words")
    assert [int(word["text"]) for word in words] == list(range(len(words)))
    apart = [after["atS"] - before["atS"] for before, after in itertools.pairwise(words)]
    assert statistics.median(apart) == pytest.approx(0.08, abs=0.022)  # told in spans of 21 ms
    assert words[0]["atS"] > 0.08
    # A word's span is one in which the model's voice is told of, too: the lanes can write it there.
    spans = {level["span"] for level in await details(page, "level") if level["voice"] == "model"}
    assert {word["span"] for word in words[:-1]} <= spans


async def test_without_webcodecs_webassembly_makes_the_call(pages: Browser, puppet: PuppetServer):
    puppet.before["/net/worker.js"] = "delete self.AudioEncoder;\n"
    page = await open_bare(pages, puppet.url + "bare")
    fetched: list[str] = []
    page.context.on("request", lambda request: fetched.append(request.url))
    await go_live(page)
    await until(page, "details('delay').length > 1")
    await until(page, "details('level').some(({ voice, rms }) => voice === 'model' && rms > 0.01)")
    assert any("vendor" in url for url in fetched)


async def test_a_socket_that_the_browser_forbids_is_told(pages: Browser, puppet: PuppetServer):
    forbids = "self.WebSocket = class { constructor() { throw new DOMException('not from here', 'SecurityError'); } };"
    puppet.before["/net/worker.js"] = forbids + "\n"
    page = await open_bare(pages, puppet.url + "bare")
    await page.evaluate("() => { call.start(); }")
    await until(page, "call.state === 'ended'")
    failure = await page.evaluate("[last.ended.failure.code, last.ended.failure.detail]")
    assert failure[0] == "broken" and "not from here" in failure[1]


async def test_a_packet_that_is_no_opus_is_concealed_and_the_call_goes_on(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await until(page, "details('delay').length > 1")
    await puppet.send(b"\x01\xff\xff\xff\x01")
    await until(page, "details('counts').some(({ concealed }) => concealed > 0)")
    before = len(await details(page, "words"))
    await until(page, f"details('words').length > {before + 10}")
    assert await page.evaluate("call.state") == "live"


async def test_muted_is_silence_for_the_model_but_not_for_the_picture(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await page.evaluate("call.pushToTalk = true")
    await go_live(page)
    loud = "details('level').some(({ voice, rms, atS }) => voice === '%s' && rms > 0.01 && atS > 0)"
    await until(page, "details('delay').length > 3")
    assert await page.evaluate(loud % "user")
    assert not await page.evaluate(loud % "model")
    await page.evaluate("call.talk(true)")
    await until(page, loud % "model")


async def test_a_preview_hears_the_microphone_and_the_call_goes_on_with_it(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await page.evaluate("async () => { await call.preview(); window.previewed = call.graph; }")
    await until(page, "details('level').some(({ voice, rms }) => voice === 'user' && rms > 0.01)")
    assert await page.evaluate("call.state") == "idle"
    await go_live(page)
    assert await page.evaluate("call.graph === previewed")
    await page.evaluate("call.stopPreview()")
    assert await page.evaluate("call.graph === previewed && call.state === 'live'")
    await until(page, "details('delay').length > 1")
    await page.evaluate("async () => { call.stop(); window.before = seen.length; await call.preview(); }")
    await until(page, "seen.slice(before).some(({ type }) => type === 'level')")
    assert await page.evaluate("seen.slice(before).every(({ detail }) => !(detail.atS < 0))"), "its time begins anew"


async def test_a_caller_who_changes_their_mind_leaves_no_microphone_open(pages: Browser, puppet: PuppetServer):
    slow = """{ const given = navigator.mediaDevices.getUserMedia;
    navigator.mediaDevices.getUserMedia = async (wish) => {
      await new Promise((done) => setTimeout(done, 300));
      return (window.given = await given(wish));
    } }"""
    page = await open_bare(pages, puppet.url + "bare", init=slow)
    await page.evaluate("() => { call.start(); call.stop(); }")
    assert [state["state"] for state in await details(page, "state")] == ["preparing", "ended"]
    await until(page, "window.given?.getTracks().every(({ readyState }) => readyState === 'ended')")
    await page.evaluate("() => { call.start(); call.stop(); call.start(); }")
    await until(page, "call.state === 'live'")
    await until(page, "details('delay').length > 1")


# A machine with two microphones, of which the test unplugs and plugs in what it likes.
DEVICES = """{
const devices = navigator.mediaDevices, given = devices.getUserMedia;
window.plugged = ['default', 'desk', 'headset'];
const device = (id) => ({ kind: 'audioinput', deviceId: id, label: id === 'default' ? 'Default - desk' : id });
devices.enumerateDevices = async () => window.plugged.map(device);
devices.getUserMedia = async ({ audio }) => {
  const wish = audio.deviceId?.exact ?? 'default';
  const gone = window.plugged.length ? 'OverconstrainedError' : 'NotFoundError';
  if (!window.plugged.includes(wish)) throw new DOMException('gone', gone);
  const stream = await given();
  for (const track of stream.getTracks()) {
    track.getSettings = () => ({ deviceId: wish, echoCancellation: false });
    Object.defineProperty(track, 'label', { value: wish });
  }
  return stream;
};
window.plug = (...ids) => { window.plugged = ids; devices.dispatchEvent(new Event('devicechange')); };
window.unplug = (id) => {
  const [track] = call.graph.stream.getTracks();
  window.plugged = window.plugged.filter((other) => other !== id);
  track.stop();
  track.dispatchEvent(new Event('ended'));
  devices.dispatchEvent(new Event('devicechange'));
};
window.used = () => call.graph.stream.getTracks()[0].label;
}"""


async def test_a_headset_unplugged_and_plugged_in_again_in_mid_call(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare", init=DEVICES, microphone="headset")
    await go_live(page)
    assert await page.evaluate("used()") == "headset"
    await page.evaluate("unplug('headset')")
    await until(page, "used() === 'default'")
    await page.evaluate("plug('default', 'desk', 'headset')")
    await until(page, "used() === 'headset'")
    await page.evaluate("call.setMicrophone('desk')")
    assert await page.evaluate("used()") == "desk"
    changes = [(change["kind"], change["change"], change["label"]) for change in await details(page, "device")]
    assert changes == [("microphone", "changed", label) for label in ("default", "headset", "desk")]
    assert [state["state"] for state in await details(page, "state")] == ["preparing", "dialling", "live"]
    listed = [device["id"] for device in (await details(page, "devices"))[-1]["microphones"]]
    assert listed == ["", "desk", "headset"]
    before = len(await details(page, "delay"))
    await until(page, f"details('delay').length > {before + 1}")


async def test_switches_turned_at_once_are_all_turned(pages: Browser, puppet: PuppetServer):
    slow = """{ const given = navigator.mediaDevices.getUserMedia;
    window.asked = [];
    navigator.mediaDevices.getUserMedia = async ({ audio }) => {
      asked.push(audio);
      await new Promise((done) => setTimeout(done, 100));
      return given();
    } }"""
    page = await open_bare(pages, puppet.url + "bare", init=slow)
    await page.evaluate("call.preview()")
    await page.evaluate("""() => Promise.all([
      call.setProcessing({ echoCancellation: false }),
      call.setProcessing({ noiseSuppression: false }),
      call.setMicrophone('desk'),
      call.setProcessing({ autoGainControl: false }),
    ])""")
    off = {"echoCancellation": False, "noiseSuppression": False, "autoGainControl": False}
    assert await page.evaluate("call.processing") == off
    assert await page.evaluate("asked.at(-1)") == off | {"deviceId": {"exact": "desk"}}


async def test_without_any_microphone_the_call_goes_on_until_there_is_one(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare", init=DEVICES)
    await go_live(page)
    await page.evaluate("window.plugged = []; unplug('default')")
    await until(page, "details('device').some(({ change }) => change === 'lost')")
    before = len(await details(page, "delay"))
    await until(page, f"details('delay').length > {before + 2}")  # the server still hears silence, and answers
    await page.evaluate("plug('default', 'desk')")
    await until(page, "details('device').some(({ change }) => change === 'changed')")
    assert await page.evaluate("[call.state, used()]") == ["live", "default"]


async def test_a_microphone_of_another_rate_gets_a_context_of_its_own(pages: Browser, puppet: PuppetServer):
    """As older Firefox has it: the context refuses the source."""
    refuse = """{
    const make = AudioContext.prototype.createMediaStreamSource;
    AudioContext.prototype.createMediaStreamSource = function (stream) {
      const wanted = stream.rateHz ?? 48000;
      if (this.sampleRate !== wanted) throw new DOMException('rates differ', 'NotSupportedError');
      return make.call(this, stream);
    };
    const Context = AudioContext;
    window.AudioContext = class extends Context {
      constructor(options) { super({ sampleRate: window.deviceHz ?? 48000, ...options }); }
    };
    const given = navigator.mediaDevices.getUserMedia;
    navigator.mediaDevices.getUserMedia = async (wish) => Object.assign(await given(wish), { rateHz: window.deviceHz });
    }"""
    page = await open_bare(pages, puppet.url + "bare", init=refuse)
    await go_live(page)
    await until(page, "details('delay').length > 1")
    await page.evaluate(
        "async () => { window.first = call.graph; window.deviceHz = 44100; await call.setMicrophone(''); }"
    )
    assert await page.evaluate("[call.graph !== first, call.graph.context.sampleRate, call.state]") == [
        True,
        44100,
        "live",
    ]
    before = len(await details(page, "delay"))
    await until(page, f"details('delay').length > {before + 2}")
    spans = [level["span"] for level in await details(page, "level") if level["voice"] == "user"]
    assert spans == sorted(spans)
    times = [level["atS"] for level in await details(page, "level") if level["voice"] == "user"]
    jumps = [(before, after) for before, after in itertools.pairwise(times) if after <= before]
    assert len(jumps) == 1 and abs(jumps[0][1]) < 0.1, "time begins once, when the call is live"


async def test_on_a_page_of_another_site(pages: Browser, puppet: PuppetServer):
    async with PuppetServer() as elsewhere:
        elsewhere.pages["/theirs"] = ""
        page = await open_bare(pages, elsewhere.url + "theirs", url=puppet.url)
        await go_live(page)
        await until(page, "details('delay').length > 1")
    assert len(puppet.queries) == 1


async def test_a_silent_line_that_can_be_resumed_is_given_up_soon(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await until(page, "details('delay').length > 1")
    puppet.is_silent = True
    await until(page, "call.state === 'reconnecting'")
    puppet.is_silent = False
    await until(page, "details('gap').length === 1")
    [gap] = await details(page, "gap")
    assert gap["lostS"] > 2.9, "the silence before is lost as well"
    assert puppet.goodbyes == [4000], "a goodbye would have ended the conversation"


async def test_a_lost_line_goes_on_with_the_conversation(pages: Browser, serve: Serve):
    server = await serve("--model", "echo")
    async with CuttableLine(server.url) as line:
        page = await open_bare(pages, line.url + "fonts/OFL.txt", url=line.url)
        await go_live(page)
        first = await page.evaluate("call.callId")
        line.cut()
        await until(page, "call.state === 'live' && details('gap').length === 1")
        [gap] = await details(page, "gap")
        assert 0 < gap["lostS"] < 20
        assert await page.evaluate("call.callId") == first
        states = [state["state"] for state in await details(page, "state")]
        assert states == ["preparing", "dialling", "live", "reconnecting", "live"]
        await until(page, "details('delay').length > 1")


async def test_a_resume_token_goes_on_with_the_conversation(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    for cuts in (1, 2):
        await until(page, f"details('words').length > {10 * cuts} && call.state === 'live'")
        puppet.cut()
        await until(page, f"details('gap').length === {cuts}")
    assert all(lost["leftS"] == pytest.approx(RESUME_S, abs=3) for lost in await details(page, "lost"))
    assert puppet.tokens == ["", "token-1", "token-2"]
    states = [state["state"] for state in await details(page, "state")]
    assert states == ["preparing", "dialling", "live", *["reconnecting", "live"] * 2]
    spoken = [word["atS"] for word in await details(page, "words")]
    assert spoken == sorted(spoken)


async def test_a_new_conversation_begins_only_when_the_caller_says_so(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await until(page, "details('words').length > 3")
    puppet.forget()
    puppet.cut()
    await until(page, "call.state === 'ended'")
    assert await page.evaluate("last.ended.failure.code") == "conversation-lost"
    assert puppet.tokens == ["", "token-1"]
    puppet.keeps_calls = False
    await go_live(page)
    puppet.cut()
    await until(page, "call.state === 'ended'")
    assert await page.evaluate("last.ended.failure.code") == "connection-lost"
    assert puppet.tokens == ["", "token-1", ""]


async def test_what_was_said_is_heard_to_its_end(pages: Browser, puppet: PuppetServer):
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await until(page, "details('words').length > 10")
    await puppet.send(b"\x02 goodbye")
    for packet in puppet.said:
        await puppet.send(packet)
    await puppet.hang_up("limit")
    await until(page, "call.state === 'ended'")
    assert (await details(page, "words"))[-1]["text"] == " goodbye"
    told = await page.evaluate("seen.map(({ type }) => type)")
    assert "words" not in told[told.index("ended") :]
    assert await page.evaluate("call.graph") is None


async def test_behind_a_path_prefix_and_tls(pages: Browser, serve: Serve):
    server = await serve("--model", "echo")
    async with CuttableLine(server.url, prefix="/talk/", tls=True) as line:
        page = await open_bare(pages, line.url + "fonts/OFL.txt", url=line.url)
        await go_live(page)
        await until(page, "details('delay').length > 1")
        assert (await page.evaluate("call.info()"))["model"] == "echo"


async def test_a_page_that_hangs_does_not_interrupt_the_call(pages: Browser, puppet: PuppetServer):
    """What a call is made of runs elsewhere, so that it goes on while the page's own thread does nothing for 3 s."""
    page = await open_bare(pages, puppet.url + "bare")
    await go_live(page)
    await until(page, "details('delay').length > 3")
    packets, span = puppet.heard_packets, await page.evaluate("details('level').at(-1).span")
    await page.evaluate("() => { for (const end = performance.now() + 3000; performance.now() < end; ); }")
    assert puppet.heard_packets - packets > 100, "of 150"
    await until(page, f"details('level').at(-1).span > {span} + 130")  # told only now, but measured when it sounded
    levels = [level for level in await details(page, "level") if span < level["span"] < span + 130]
    sounding = {voice: sum(x["rms"] > 0.003 for x in levels if x["voice"] == voice) for voice in ("user", "model")}
    assert sounding["model"] > 0.5 * sounding["user"] > 20
