"""What the page tells its user, and how the status shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WEB = Path(__file__).parents[3] / "web"
MESSAGES = "/page/ui/messages.js"


def failure_codes() -> list[str]:
    typedef = (WEB / "client" / "failure.js").read_text().split("FailureCode", 1)[0]
    return re.findall(r"'([a-z-]+)'", typedef)


async def test_failure_codes_are_found():
    assert {"insecure", "microphone-denied", "full", "connection-lost"} <= set(failure_codes())


@pytest.mark.parametrize("code", failure_codes())
async def test_failure_message_says_what_happened_and_what_to_do(js: Js, code: str):
    told = await js(MESSAGES, "return m.failureMessage({code, detail: ''})", code=code)
    assert re.fullmatch(r"[A-Z].{15,90}\.", told["title"])
    assert re.fullmatch(r"[A-Z].{15,120}\.", told["advice"])


async def test_failure_message_prefers_the_servers_words_and_tidies_them(js: Js):
    told = await js(MESSAGES, "return m.failureMessage({code: 'refused', detail: ' no audio came in 30 s '})")
    assert told["title"] == "No audio came in 30 s."


async def test_failure_message_adds_a_browsers_words_to_the_advice(js: Js):
    told = await js(MESSAGES, "return m.failureMessage({code: 'broken', detail: 'TypeError: x'})")
    assert told["title"] == "Something went wrong in this page or browser."
    assert "TypeError: x" in told["advice"]


@pytest.mark.parametrize(
    ("position", "ahead_s", "expected"),
    [
        (1, 0, "You are next in the queue. The call will start by itself."),
        (3, 0, "You are number 3 in the queue. The call will start by itself."),
        (2, 40, "You are number 2 in the queue, about 40 seconds to go."),
        (2, 150, "You are number 2 in the queue, about 3 minutes to go."),
        (0, 0, "The server is busy. You are in the queue."),
    ],
)
async def test_queue_message_tells_the_place_and_the_time(js: Js, position: int, ahead_s: int, expected: str):
    assert await js(MESSAGES, "return m.queueMessage(position, ahead)", position=position, ahead=ahead_s) == expected


@pytest.mark.parametrize(
    ("running", "waiting", "expected"),
    [
        (1, 0, ""),
        (2, 0, "The server is busy. You would wait in a queue; you would be next."),
        (2, 1, "The server is busy. You would wait in a queue; 1 caller waits already."),
        (2, 3, "The server is busy. You would wait in a queue; 3 callers wait already."),
        (2, 4, "The server is busy, and its queue is full. Try again in a few minutes."),
    ],
)
async def test_busy_message_says_what_a_press_would_lead_to(js: Js, running: int, waiting: int, expected: str):
    info = {"slots": 2, "running": running, "waiting": waiting, "limits": {"max_waiting": 4}}
    assert await js(MESSAGES, "return m.busyMessage(info)", info=info) == expected


async def test_status_view_announces_an_unchanged_text_once(js: Js):
    body = """
    const line = document.createElement('p'), card = document.createElement('div');
    card.hidden = true;
    card.innerHTML = '<p data-title></p><p data-advice></p>';
    const status = new m.StatusView(line, card), seen = [];
    const observer = new MutationObserver((changes) => seen.push(...changes.map(({ target }) => target)));
    for (const element of [line, card]) observer.observe(element, { childList: true, subtree: true, attributes: true });
    const changed = async (tell) => { tell(); await 0; return Boolean(seen.splice(0).length); };
    const says = [() => status.show('Loading.'), () => status.fail({ title: 'Gone.', advice: 'Wait.' })];
    const told = [];
    for (const tell of [says[0], says[0], says[1], says[1], says[0], says[0]]) told.push(await changed(tell));
    return [told, line.textContent, card.hidden];
    """
    told, line, hidden = await js("/page/ui/status-view.js", body)
    assert told == [True, False, True, False, True, False]
    assert (line, hidden) == ("Loading.", True)
