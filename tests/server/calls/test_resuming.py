"""Calls that outlive their sockets: lost, resumed, taken over, refused, expired and evicted, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.dialects.kyutai_protocol import AudioForm
from server.metrics import Count
from server.sessions import pacing
from tests.fakes import TalkingRunner
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import ChatClient, connect_with_small_buffer, open_chat, speech, wait_until
from tests.server.conftest import RunningServer, Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")


@asynccontextmanager
async def started_call(
    served: RunningServer, query: str = "", **options: Any
) -> AsyncIterator[tuple[ChatClient, dict[str, Any]]]:
    """A call that has sent and received a frame, and its ready event."""
    async with open_chat(f"{served.chat}?events=1{query}", **options) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        yield client, await client.event("ready")


async def lose_call(served: RunningServer, query: str = "") -> dict[str, Any]:
    """Start a call, drop its connection and wait until it is parked; return its ready event."""
    parked = served.service.parked
    async with started_call(served, query) as (client, ready):
        client.abort()
        await wait_until(lambda: served.service.parked == parked + 1)
    return ready


async def resume_refusal(served: RunningServer, token: str) -> tuple[int, str]:
    """The close code, and the reason in the end event, with which `token` is refused."""
    async with open_chat(f"{served.chat}?events=1&resume={token}") as client:
        message = await client.error()
        code, reason = await client.wait_closed()
        assert reason == message and token not in message
        return code, (await client.event("end"))["reason"]


async def test_lost_call_resumes_with_the_length_of_the_gap(serve: Serve):
    runner = TalkingRunner(2)
    served = await serve(make_runner=lambda: runner)
    ready = await lose_call(served, "&seed=7")
    assert (ready["resume_s"], "gap_s" in ready) == (20, False)
    assert (served.service.running, served.service.parked) == (0, 1)
    async with started_call(served, f"&resume={ready['resume']}&seed=8") as (client, again):
        assert (again["call"], again["seed"]) == (ready["call"], ready["seed"]) == (ready["call"], 7)
        assert again["resume"] not in (None, ready["resume"])
        assert 0 <= again["gap_s"] < 60
        assert client.texts, "the model continues to speak"
        assert (served.service.running, served.service.parked) == (1, 0)
        assert len(runner.started) == 1, "one conversation, in one slot"
        assert await resume_refusal(served, ready["resume"]) == (1008, "resume"), "a token is valid once"
    await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
    counts = served.service.metrics.counts
    assert (counts[Count.CALLS_LOST], counts[Count.CALLS_RESUMED], counts[Count.CALLS_STARTED]) == (1, 1, 1)
    assert await resume_refusal(served, again["resume"]) == (1008, "resume"), "the client hung up"


async def test_resumed_raw_call_is_answered_in_raw_before_its_client_sends_audio(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    served = await serve()
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 0.05)  # the model answers the silence that is filled in
    async with open_chat(f"{served.chat}?events=1", AudioForm.RAW) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        ready = await client.event("ready")
        client.abort()
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}", AudioForm.RAW) as client:
        await client.receive_frame()


@pytest.mark.parametrize("code", [1000, 1001])
async def test_call_that_its_client_closes_is_not_parked(serve: Serve, code: int):
    served = await serve()
    async with started_call(served) as (client, ready):
        await client.socket.close(code)
        await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
    assert served.service.parked == 0
    assert await resume_refusal(served, ready["resume"]) == (1008, "resume")


async def test_hang_up_of_a_browser_is_not_counted_as_lost_but_may_be_resumed(serve: Serve):
    """`socket.close()` of JavaScript sends a close frame without a code."""
    served = await serve(resume_s=0.3)
    counts = served.service.metrics.counts
    for comes_back in (True, False):
        async with started_call(served) as (client, ready):
            client.socket.protocol.send_close()
            client.socket.transport.write(b"".join(client.socket.protocol.data_to_send()))
            await wait_until(lambda: served.service.parked == 1)
        if comes_back:
            async with started_call(served, f"&resume={ready['resume']}") as (client, _):
                await client.socket.close(1000)
        await wait_until(lambda done=1 + (not comes_back): counts[Count.SESSIONS_ENDED] == done)
    assert served.service.metrics.ended == {"left": 2}
    assert (counts[Count.CALLS_LOST], counts[Count.CALLS_RESUMED], counts[Count.CALLS_EXPIRED]) == (1, 1, 0)


async def test_call_closed_with_code_4000_is_parked(serve: Serve):
    served = await serve()
    async with started_call(served) as (client, ready):
        await client.socket.close(4000)
        await wait_until(lambda: served.service.parked == 1)
    async with started_call(served, f"&resume={ready['resume']}") as (_, again):
        assert again["call"] == ready["call"]


async def test_call_without_events_is_not_parked(serve: Serve):
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        client.abort()
        await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
    assert client.events == []


async def test_no_call_is_parked_when_resume_s_is_zero(serve: Serve):
    served = await serve(resume_s=0)
    async with started_call(served) as (client, ready):
        assert ready["resume"] is None and "resume_s" not in ready
        client.abort()
        await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)


async def test_resume_takes_over_from_a_connection_that_still_stands(serve: Serve):
    served = await serve()
    async with started_call(served) as (old, ready), started_call(served, f"&resume={ready['resume']}") as (new, again):
        assert again["call"] == ready["call"]
        assert (await old.wait_closed())[0] == 1000
        assert (await old.event("end"))["reason"] == "taken_over" and not old.errors
        await new.send_frame(speech(1)[0])
        await new.receive_frame()
        assert (served.service.running, served.service.parked) == (1, 0)


async def test_token_remains_valid_while_its_resumed_call_sent_no_audio(serve: Serve):
    served = await serve()
    ready = await lose_call(served)
    for _ in range(3):
        async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}") as client:
            client.abort()
    async with started_call(served, f"&resume={ready['resume']}") as (_, again):
        assert again["call"] == ready["call"]
    assert await resume_refusal(served, ready["resume"]) == (1008, "resume")


@pytest.mark.parametrize("token", ["", "x", "%00", "é", "a" * 2000, "..%2f"])
async def test_invalid_token_is_refused(serve: Serve, token: str):
    served = await serve()
    await lose_call(served)
    assert await resume_refusal(served, token or "%20") == (1008, "resume")
    assert served.service.metrics.refused["resume"] == 1 and served.service.parked == 1


@pytest.mark.usefixtures("short_watch_interval")
async def test_parked_call_ends_after_resume_s(serve: Serve):
    served = await serve(resume_s=0.2)
    ready = await lose_call(served)
    await wait_until(lambda: served.service.metrics.counts[Count.CALLS_EXPIRED] == 1)
    assert (served.service.running, served.service.parked) == (0, 0)
    assert await resume_refusal(served, ready["resume"]) == (1008, "resume")


@pytest.mark.parametrize("events", ["", "?events=1"])
async def test_new_call_evicts_the_call_parked_longest(serve: Serve, events: str):
    served = await serve(slots=2)
    first, second = await lose_call(served), await lose_call(served)
    async with open_chat(served.chat + events) as client:
        await client.handshake()
        assert served.service.metrics.counts[Count.CALLS_EVICTED] == 1
        assert await resume_refusal(served, first["resume"]) == (1008, "resume")
        async with started_call(served, f"&resume={second['resume']}") as (_, again):
            assert again["call"] == second["call"]


async def test_queued_call_evicts_a_call_as_soon_as_it_is_parked(serve: Serve):
    served = await serve(slots=1)
    async with started_call(served) as (client, ready), open_chat(f"{served.chat}?events=1") as waiting:
        await waiting.event("queue")
        client.abort()
        await waiting.handshake()
        assert await resume_refusal(served, ready["resume"]) == (1008, "resume")


async def test_neighbour_is_unaffected_by_breaks_and_resumes(serve: Serve):
    served = await serve(slots=2)
    async with unaffected_neighbour(served):
        ready = await lose_call(served)
        for _ in range(3):
            async with started_call(served, f"&resume={ready['resume']}") as (client, ready):
                client.abort()
                await wait_until(lambda: served.service.parked == 1)


async def test_muted_microphone_after_a_resume_is_filled_with_silence(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    served = await serve()
    ready = await lose_call(served)
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 0.05)
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}") as client:
        await client.handshake()
        for _ in range(3):
            await client.receive_frame()
        session = next(iter(served.service.calls.admission))
        assert session.counts[Count.FRAMES_SILENCE] >= 3


async def test_log_has_no_resume_token(serve: Serve, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    served = await serve()
    ready = await lose_call(served)
    async with started_call(served, f"&resume={ready['resume']}") as (_, again):
        pass
    ours = [r for r in caplog.records if r.name.startswith("server")]
    assert any(r.message == "call resumed" for r in ours)
    for token in (ready["resume"], again["resume"]):
        assert not any(token in str(vars(record)) for record in ours)


async def test_resume_is_answered_while_the_old_connection_takes_no_bytes(serve: Serve):
    """The server cannot see that the old connection is lost, since its send buffers are full."""
    served = await serve(slots=1)
    unread = await connect_with_small_buffer(served.port)
    async with started_call(served, sock=unread, max_queue=1) as (client, ready):
        for frame in speech(100):  # the replies fill every buffer
            await client.send_frame(frame)
        async with started_call(served, f"&resume={ready['resume']}") as (_, again):
            assert again["call"] == ready["call"]
        client.abort()
    await wait_until(lambda: served.service.running == 0)
