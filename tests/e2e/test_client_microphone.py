"""The embeddable client's microphone: opened, muted, changed, unplugged, missing."""

from __future__ import annotations

import itertools

import pytest
from playwright.async_api import Browser

from tests.e2e.client_page import details, open_empty_page, start_call, until
from tests.e2e.scripted_server import ScriptedServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_muted_microphone_sends_silence_but_still_has_levels(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await page.evaluate("call.pushToTalk = true")
    await start_call(page)
    loud = "details('level').some(({ voice, rms, atS }) => voice === '%s' && rms > 0.01 && atS > 0)"
    await until(page, "details('delay').length > 3")
    assert await page.evaluate(loud % "user")
    assert not await page.evaluate(loud % "model")
    await page.evaluate("call.talk(true)")
    await until(page, loud % "model")


async def test_preview_opens_the_microphone_and_the_call_keeps_it(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare")
    await page.evaluate("async () => { await call.preview(); window.previewed = call.graph; }")
    await until(page, "details('level').some(({ voice, rms }) => voice === 'user' && rms > 0.01)")
    assert await page.evaluate("call.state") == "idle"
    await start_call(page)
    assert await page.evaluate("call.graph === previewed")
    await page.evaluate("call.stopPreview()")
    assert await page.evaluate("call.graph === previewed && call.state === 'live'")
    await until(page, "details('delay').length > 1")
    await page.evaluate("async () => { call.stop(); window.before = seen.length; await call.preview(); }")
    await until(page, "seen.slice(before).some(({ type }) => type === 'level')")
    assert await page.evaluate("seen.slice(before).every(({ detail }) => !(detail.atS < 0))"), "the time starts again"


async def test_call_stopped_while_the_microphone_opens_closes_it(pages: Browser, scripted_server: ScriptedServer):
    slow = """{ const given = navigator.mediaDevices.getUserMedia;
    navigator.mediaDevices.getUserMedia = async (wish) => {
      await new Promise((done) => setTimeout(done, 300));
      return (window.given = await given(wish));
    } }"""
    page = await open_empty_page(pages, scripted_server.url + "bare", init=slow)
    await page.evaluate("() => { call.start(); call.stop(); }")
    assert [state["state"] for state in await details(page, "state")] == ["preparing", "ended"]
    await until(page, "window.given?.getTracks().every(({ readyState }) => readyState === 'ended')")
    await page.evaluate("() => { call.start(); call.stop(); call.start(); }")
    await until(page, "call.state === 'live'")
    await until(page, "details('delay').length > 1")


# A machine with two microphones that the test can plug in and unplug.
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


async def test_headset_unplugged_and_plugged_in_during_a_call_is_followed(
    pages: Browser, scripted_server: ScriptedServer
):
    page = await open_empty_page(pages, scripted_server.url + "bare", init=DEVICES, microphone="headset")
    await start_call(page)
    assert await page.evaluate("used()") == "headset"
    await page.evaluate("unplug('headset')")
    await until(page, "used() === 'default'")
    await page.evaluate("plug('default', 'desk', 'headset')")
    await until(page, "used() === 'headset'")
    await page.evaluate("call.setMicrophone('desk')")
    assert await page.evaluate("used()") == "desk"
    changes = [(change["kind"], change["change"], change["label"]) for change in await details(page, "device")]
    assert changes == [("microphone", "changed", label) for label in ("default", "headset", "desk")]
    assert [state["state"] for state in await details(page, "state")] == ["preparing", "connecting", "live"]
    listed = [device["id"] for device in (await details(page, "devices"))[-1]["microphones"]]
    assert listed == ["", "desk", "headset"]
    before = len(await details(page, "delay"))
    await until(page, f"details('delay').length > {before + 1}")


async def test_concurrent_changes_of_processing_are_all_applied(pages: Browser, scripted_server: ScriptedServer):
    slow = """{ const given = navigator.mediaDevices.getUserMedia;
    window.asked = [];
    navigator.mediaDevices.getUserMedia = async ({ audio }) => {
      asked.push(audio);
      await new Promise((done) => setTimeout(done, 100));
      return given();
    } }"""
    page = await open_empty_page(pages, scripted_server.url + "bare", init=slow)
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


async def test_call_goes_on_without_any_microphone(pages: Browser, scripted_server: ScriptedServer):
    page = await open_empty_page(pages, scripted_server.url + "bare", init=DEVICES)
    await start_call(page)
    await page.evaluate("window.plugged = []; unplug('default')")
    await until(page, "details('device').some(({ change }) => change === 'lost')")
    before = len(await details(page, "delay"))
    await until(page, f"details('delay').length > {before + 2}")  # the server still receives silence, and answers
    await page.evaluate("plug('default', 'desk')")
    await until(page, "details('device').some(({ change }) => change === 'changed')")
    assert await page.evaluate("[call.state, used()]") == ["live", "default"]


async def test_microphone_of_another_sample_rate_gets_a_new_context(pages: Browser, scripted_server: ScriptedServer):
    """In older Firefox the context refuses the source."""
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
    page = await open_empty_page(pages, scripted_server.url + "bare", init=refuse)
    await start_call(page)
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
    assert len(jumps) == 1 and abs(jumps[0][1]) < 0.1, "the time starts once, when the call is live"
