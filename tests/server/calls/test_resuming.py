"""Calls that outlive their sockets, over real ones: lost, taken over, refused, given up."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.calls.resume_tokens import ResumeTokens
from server.dialects.kyutai_protocol import AudioForm
from server.errors import ClientClosed
from server.metrics import Count
from server.sessions import pacing
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeClock, TalkingRunner
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import ChatClient, open_chat, speech, wait_until
from tests.server.conftest import RunningServer, Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")


@asynccontextmanager
async def talking(
    served: RunningServer, query: str = "", **options: Any
) -> AsyncIterator[tuple[ChatClient, dict[str, Any]]]:
    """A caller who was greeted and has said and heard something, and what they were told at the greeting."""
    async with open_chat(f"{served.chat}?events=1{query}", **options) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        yield client, await client.event("ready")


async def lose(served: RunningServer, query: str = "") -> dict[str, Any]:
    """Talk, vanish, and be parked; what was told at the greeting."""
    parked = served.service.parked
    async with talking(served, query) as (client, ready):
        client.abort()
        await wait_until(lambda: served.service.parked == parked + 1)
    return ready


async def refusal(served: RunningServer, token: str) -> tuple[int, str]:
    """The close code and the reason for which a token is refused."""
    async with open_chat(f"{served.chat}?events=1&resume={token}") as client:
        sentence = await client.error()
        code, reason = await client.wait_closed()
        assert reason == sentence and token not in sentence
        return code, (await client.event("end"))["reason"]


async def test_a_lost_call_goes_on_and_is_told_how_long_it_stood(serve: Serve):
    runner = TalkingRunner(2)
    served = await serve(make_runner=lambda: runner)
    ready = await lose(served, "&seed=7")
    assert (ready["resume_s"], "gap_s" in ready) == (20, False)
    assert (served.service.running, served.service.parked) == (0, 1)
    async with talking(served, f"&resume={ready['resume']}&seed=8") as (client, again):
        assert (again["call"], again["seed"]) == (ready["call"], ready["seed"]) == (ready["call"], 7)
        assert again["resume"] not in (None, ready["resume"])
        assert 0 <= again["gap_s"] < 60
        assert client.texts, "the model goes on talking"
        assert (served.service.running, served.service.parked) == (1, 0)
        assert len(runner.started) == 1, "one conversation, in one slot"
        assert await refusal(served, ready["resume"]) == (1008, "resume"), "a token is good for once"
    await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
    counts = served.service.metrics.counts
    assert (counts[Count.CALLS_LOST], counts[Count.CALLS_RESUMED], counts[Count.CALLS_STARTED]) == (1, 1, 1)
    assert await refusal(served, again["resume"]) == (1008, "resume"), "hung up: there is nothing to go on with"


async def test_who_spoke_raw_is_answered_raw_before_they_speak_again(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    served = await serve()
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 0.05)  # the model hears silence meanwhile, and answers that
    async with open_chat(f"{served.chat}?events=1", AudioForm.RAW) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        ready = await client.event("ready")
        client.abort()
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}", AudioForm.RAW) as client:
        await client.receive_frame()


@pytest.mark.parametrize("code", [1000, 1001])
async def test_who_says_goodbye_is_not_waited_for(serve: Serve, code: int):
    served = await serve()
    async with talking(served) as (client, ready):
        await client.socket.close(code)
        await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
    assert served.service.parked == 0
    assert await refusal(served, ready["resume"]) == (1008, "resume")


async def test_a_client_that_gives_up_a_dead_line_is_waited_for(serve: Serve):
    served = await serve()
    async with talking(served) as (client, ready):
        await client.socket.close(4000)
        await wait_until(lambda: served.service.parked == 1)
    async with talking(served, f"&resume={ready['resume']}") as (_, again):
        assert again["call"] == ready["call"]


async def test_who_did_not_ask_is_not_waited_for(serve: Serve):
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        client.abort()
        await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
    assert client.events == []


async def test_an_operator_may_switch_it_off(serve: Serve):
    served = await serve(resume_s=0)
    async with talking(served) as (client, ready):
        assert ready["resume"] is None and "resume_s" not in ready
        client.abort()
        await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)


async def test_a_token_takes_over_from_a_socket_that_only_seems_alive(serve: Serve):
    served = await serve()
    async with talking(served) as (old, ready), talking(served, f"&resume={ready['resume']}") as (new, again):
        assert again["call"] == ready["call"]
        assert (await old.wait_closed())[0] == 1000
        assert (await old.event("end"))["reason"] == "taken_over" and not old.errors
        await new.send_frame(speech(1)[0])
        await new.receive_frame()
        assert (served.service.running, served.service.parked) == (1, 0)


async def test_a_line_lost_again_before_anything_was_heard_may_use_its_token_again(serve: Serve):
    served = await serve()
    ready = await lose(served)
    for _ in range(3):
        async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}") as client:
            client.abort()
    async with talking(served, f"&resume={ready['resume']}") as (_, again):
        assert again["call"] == ready["call"]
    assert await refusal(served, ready["resume"]) == (1008, "resume")


@pytest.mark.parametrize("token", ["", "x", "%00", "é", "a" * 2000, "..%2f"])
async def test_what_is_no_token_is_refused(serve: Serve, token: str):
    served = await serve()
    await lose(served)
    assert await refusal(served, token or "%20") == (1008, "resume")
    assert served.service.metrics.refused["resume"] == 1 and served.service.parked == 1


@pytest.mark.usefixtures("short_watch_interval")
async def test_who_does_not_come_back_in_time_is_given_up(serve: Serve):
    served = await serve(resume_s=0.2)
    ready = await lose(served)
    await wait_until(lambda: served.service.metrics.counts[Count.CALLS_EXPIRED] == 1)
    assert (served.service.running, served.service.parked) == (0, 0)
    assert await refusal(served, ready["resume"]) == (1008, "resume")


@pytest.mark.parametrize("events", ["", "?events=1"])
async def test_a_new_caller_takes_the_slot_of_the_longest_parked(serve: Serve, events: str):
    served = await serve(slots=2)
    first, second = await lose(served), await lose(served)
    async with open_chat(served.chat + events) as client:
        await client.handshake()
        assert served.service.metrics.counts[Count.CALLS_EVICTED] == 1
        assert await refusal(served, first["resume"]) == (1008, "resume")
        async with talking(served, f"&resume={second['resume']}") as (_, again):
            assert again["call"] == second["call"]


async def test_who_waits_takes_the_slot_as_soon_as_its_caller_is_lost(serve: Serve):
    served = await serve(slots=1)
    async with talking(served) as (client, ready), open_chat(f"{served.chat}?events=1") as waiting:
        await waiting.event("queue")
        client.abort()
        await waiting.handshake()
        assert await refusal(served, ready["resume"]) == (1008, "resume")


async def test_neighbours_do_not_notice(serve: Serve):
    served = await serve(slots=2)
    async with unaffected_neighbour(served):
        ready = await lose(served)
        for _ in range(3):
            async with talking(served, f"&resume={ready['resume']}") as (client, ready):
                client.abort()
                await wait_until(lambda: served.service.parked == 1)


async def test_a_microphone_that_stays_mute_after_a_break_is_heard_as_silence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    served = await serve()
    ready = await lose(served)
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 0.05)
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}") as client:
        await client.handshake()
        for _ in range(3):
            await client.receive_frame()
        session = next(iter(served.service.calls.admission))
        assert session.counts[Count.FRAMES_SILENCE] >= 3


async def test_tokens_are_never_logged(serve: Serve, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    served = await serve()
    ready = await lose(served)
    async with talking(served, f"&resume={ready['resume']}") as (_, again):
        pass
    ours = [r for r in caplog.records if r.name.startswith("server")]
    assert any(r.message == "call resumed" for r in ours)
    for token in (ready["resume"], again["resume"]):
        assert not any(token in str(vars(record)) for record in ours)


async def test_a_phone_without_a_network_is_answered_at_once_when_it_is_back(serve: Serve):
    """The old socket takes no more bytes, so the server's side of it still stands when the caller comes back."""
    served = await serve(slots=1)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(deaf.connect, ("127.0.0.1", served.port))
    async with talking(served, sock=deaf, max_queue=1) as (client, ready):
        for frame in speech(100):  # the answers fill every buffer on the way
            await client.send_frame(frame)
        async with talking(served, f"&resume={ready['resume']}") as (_, again):
            assert again["call"] == ready["call"]
        client.abort()
    await wait_until(lambda: served.service.running == 0)


def test_a_server_says_in_its_tokens_which_it_is():
    session = Session(SessionParams(), FakeClock())
    assert ResumeTokens("gpu-1").issue(session).startswith("gpu-1.")
    assert "." not in ResumeTokens("").issue(session)


def test_a_token_of_a_call_that_is_over_opens_nothing_however_often():
    """While the last words are sent, the call is still known."""
    tokens, session = ResumeTokens(""), Session(SessionParams(), FakeClock())
    token = tokens.issue(session)
    session.greeted_at = 0.0
    session.end(ClientClosed("Goodbye."))
    assert tokens.redeem(token) is None
    assert tokens.redeem(token) is None


def test_a_token_is_good_from_the_greeting_on():
    """It is sent right before the handshake, and a line that is full may hold that back."""
    tokens, session = ResumeTokens(""), Session(SessionParams(), FakeClock())
    token = tokens.issue(session)
    session.open(token)
    assert tokens.redeem(token) is None
    session.greeted_at = 0.0
    assert tokens.redeem(token) is session


def test_no_token_outlives_its_session():
    tokens, session = ResumeTokens(""), Session(SessionParams(), FakeClock())
    session.greeted_at = 0.0
    for _ in range(100):
        assert tokens.redeem(tokens.issue(session)) is session
    assert len(tokens._holders) <= 2
    last = tokens.issue(session)
    tokens.forget(session)
    assert not tokens._holders and not tokens._newest and tokens.redeem(last) is None
