"""Calls on the page in a real browser, with a real server and a microphone that plays a file."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.e2e.browser import FOREIGN_HOST, MIC_HZ, open_page
from tests.e2e.call_audio import record_call
from tests.e2e.conftest import StartServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TIMEOUT_MS = 30_000
TALK_S = 7
expect.set_options(timeout=TIMEOUT_MS)


async def start(page: Page) -> None:
    await page.get_by_role("button", name="Start talking").click()


async def expect_live(page: Page) -> None:
    await expect(page.get_by_role("status")).to_have_text("Connected. Speak whenever you like.")


async def expect_failure(page: Page, title: str, advice: str) -> None:
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(title))
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(advice))


def match_windows(microphone: np.ndarray, played: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """For each voiced 0.4 s: the highest correlation with what was played within a second, and its lag in ms."""
    window, reach = round(0.4 * rate_hz), round(1.0 * rate_hz)
    correlation, lag_ms = [], []
    for begin in range(0, len(microphone) - window - reach, window // 2):
        spoken = microphone[begin : begin + window]
        if np.sqrt(np.mean(spoken**2)) < 0.01:
            continue
        answer = played[begin : begin + window + reach]
        size = 1 << (len(answer) + window).bit_length()
        product = np.fft.irfft(np.fft.rfft(answer, size) * np.conj(np.fft.rfft(spoken, size)))[:reach]
        energy = np.cumsum(np.concatenate([[0.0], answer.astype(np.float64) ** 2]))
        norm = np.sqrt((energy[window : window + reach] - energy[:reach]).clip(1e-6) * np.sum(spoken**2))
        best = int(np.argmax(product / norm))
        correlation.append(product[best] / norm[best])
        lag_ms.append(best * 1000 / rate_hz)
    return np.array(correlation), np.array(lag_ms)


async def test_echo_call_plays_what_was_said_and_shows_the_true_delay(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo")
    page = await open_page(pages, server.url, bypass_csp=True)
    refused: list[str] = []
    page.on("requestfailed", lambda request: refused.append(request.url))
    page.on("pageerror", lambda error: refused.append(str(error)))
    await expect(page.locator("#notice")).to_contain_text("echo")
    await start(page)
    await expect_live(page)
    await expect(page.locator("#delay")).to_contain_text(re.compile(r"Delay \d+ ms"))

    audio = await record_call(page, TALK_S)
    correlation, lag_ms = match_windows(audio.microphone, audio.played, audio.rate_hz)
    assert audio.rate_hz == MIC_HZ
    assert len(correlation) >= 10
    assert np.median(correlation) > 0.7, correlation.round(2)
    assert np.mean(correlation > 0.6) > 0.6, correlation.round(2)

    # The recording does not contain the device's delay. The rest must be the measured delay, to half a frame.
    shown = np.array([delay["totalMs"] - delay["deviceMs"] for delay in audio.delays])
    measured = lag_ms[correlation > 0.6]
    assert abs(np.median(shown) - np.median(measured)) < 40, (shown.round(), measured.round())

    await page.get_by_role("button", name="End call").click()
    await expect(page.get_by_role("status")).to_have_text("Call ended.")
    assert refused == []


async def test_demo_model_answers_a_question(asking_browser: Browser, serve: StartServer):
    server = await serve()
    page = await open_page(asking_browser, server.url)
    await expect(page.locator("#notice")).to_contain_text("knows a few dozen phrases; it is not Moshi")
    await start(page)
    await expect_live(page)
    await expect(page.get_by_role("log")).to_contain_text("My name is Parley.", timeout=2 * TIMEOUT_MS)


async def test_call_started_while_the_model_loads_shows_the_model_later(pages: Browser, serve: StartServer):
    page = await open_page(pages, (await serve("--model", "echo")).url)
    loading = True

    async def answer(route: Route) -> None:
        told = {"status": "starting", "model": "echo", "notice": "The model is loading."}
        if not loading:
            await route.continue_()
        elif route.request.url.endswith("/readyz"):
            await route.fulfill(status=503, json=told)
        else:
            await route.fulfill(json=told)

    await page.route(re.compile("/(readyz|api/info)$"), answer)
    await page.reload()
    await expect(page.locator("#notice")).to_have_text("The model is loading.")
    await start(page)
    await expect_live(page)
    async with page.expect_request(re.compile("/readyz$"), timeout=TIMEOUT_MS):
        pass  # the page still asks during the call
    loading = False
    await expect(page.locator("#notice")).to_contain_text("echo test")


async def test_blocked_microphone_is_explained(pages: Browser, serve: StartServer):
    page = await open_page(pages, (await serve("--model", "echo")).url, microphone=False)
    await start(page)
    await expect_failure(page, "blocks the microphone", "Allow it")
    await expect(page.get_by_role("button", name="Start talking")).to_be_enabled()


async def test_missing_microphone_is_explained(browser_without_microphone: Browser, serve: StartServer):
    page = await open_page(browser_without_microphone, (await serve("--model", "echo")).url)
    await start(page)
    await expect_failure(page, "No microphone was found", "Plug one in")


async def test_missing_loudspeaker_is_explained(pages: Browser, serve: StartServer):
    """Firefox then leaves the context suspended and reports no error."""
    never = "AudioContext.prototype.resume = () => new Promise(() => {});"
    page = await open_page(pages, (await serve("--model", "echo")).url, init=never)
    await start(page)
    await expect_failure(page, "could not start the sound", "Plug in")
    await expect(page.get_by_role("button", name="Start talking")).to_be_enabled()
    assert await page.evaluate("parley.call.graph") is None


async def test_unplugged_microphone_is_replaced_during_the_call(pages: Browser, serve: StartServer):
    page = await open_page(pages, (await serve("--model", "echo")).url)
    await start(page)
    await expect_live(page)
    unplug = """async () => {
      const { call } = window.parley, [lost] = call.graph.stream.getAudioTracks();
      const changed = new Promise((done) => call.addEventListener('device', ({ detail }) => done(detail)));
      lost.dispatchEvent(new Event('ended'));
      return [await changed, call.state, call.graph.stream.getAudioTracks()[0] !== lost, lost.readyState];
    }"""
    change, state, is_another, lost = await page.evaluate(unplug)
    assert (change["kind"], change["change"], state, is_another, lost) == (
        "microphone", "changed", "live", True, "ended",
    )  # fmt: skip
    await expect(page.get_by_role("status")).to_contain_text("You are now using")
    await page.get_by_role("button", name="End call").click()
    await expect(page.get_by_role("status")).to_have_text("Call ended.")


async def test_page_without_https_says_that_it_needs_it(pages: Browser, serve: StartServer):
    page = await open_page(
        pages,
        (await serve("--model", "echo", "--public", "--allowed-host", FOREIGN_HOST)).foreign_url,
        microphone=False,
    )
    await expect_failure(page, "needs https", "https://")
    await expect(page.get_by_role("button", name="Start talking")).to_be_disabled()


async def test_browser_without_webcodecs_and_webassembly_is_told(pages: Browser, serve: StartServer):
    url = (await serve("--model", "echo")).url
    page = await open_page(pages, url, init="delete window.AudioEncoder; delete window.WebAssembly;")
    await expect_failure(page, "WebCodecs", "Use a current")
    await expect(page.get_by_role("button", name="Start talking")).to_be_disabled()


async def test_second_caller_queues_and_gets_the_call(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo", "--slots", "1")
    first, second, third = [await open_page(pages, server.url) for _ in range(3)]
    await start(first)
    await expect_live(first)
    await start(second)
    await expect(second.get_by_role("status")).to_contain_text("You are next in the queue")
    await start(third)
    await expect(third.get_by_role("status")).to_contain_text("You are number 2 in the queue")
    await first.get_by_role("button", name="End call").click()
    await expect_live(second)
    await expect(third.get_by_role("status")).to_contain_text("You are next in the queue")


async def test_full_server_without_a_queue_says_so(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo", "--slots", "1", "--max-waiting", "0")
    first, second = [await open_page(pages, server.url) for _ in range(2)]
    await start(first)
    await expect_live(first)
    await start(second)
    await expect_failure(second, "full|taken|busy", "Try again")
    await expect_live(first)


async def test_call_that_reaches_its_limit_says_so(pages: Browser, serve: StartServer):
    page = await open_page(pages, (await serve("--model", "echo", "--max-call-s", "4")).url)
    await start(page)
    await expect(page.locator("#call-timer")).to_contain_text(re.compile("0:0[234] left"))
    await expect(page.get_by_role("status")).to_have_text("The call reached its time limit.")


async def test_server_that_drains_counts_down(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo", "--drain-s", "5")
    page = await open_page(pages, server.url)
    await start(page)
    await expect_live(page)
    server.process.terminate()
    await expect(page.get_by_role("status")).to_contain_text(re.compile(r"about to restart, .* [1-5] s"))
    await expect(page.locator("#call-timer")).to_contain_text("left")
    await expect_failure(page, "restarting", "Try again")


async def test_server_that_is_killed_is_explained(pages: Browser, serve: StartServer):
    server = await serve("--model", "echo", "--resume-s", "2")
    page = await open_page(pages, server.url)
    await start(page)
    await expect_live(page)
    server.process.kill()
    await expect_failure(page, "connection was lost", "Check your network")
    await start(page)
    await expect_failure(page, "server does not answer", "Check your network")
