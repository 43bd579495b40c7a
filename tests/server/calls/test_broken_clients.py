"""Clients that vanish, do not read or do not speak: their slots become free, neighbours are unaffected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.dialects.kyutai_protocol import AudioForm
from server.metrics import Count
from server.sessions.outbox import OUTBOX_FRAMES
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import TIMEOUT_S, ChatClient, connect_with_small_buffer, open_chat, speech, wait_until
from tests.server.conftest import RunningServer, Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")


@pytest.mark.usefixtures("short_watch_interval")
async def test_client_that_stops_reading_is_disconnected(serve: Serve):
    served = await serve(slots=2, stalled_s=2)
    unread = await connect_with_small_buffer(served.port)
    async with unaffected_neighbour(served):
        async with open_chat(served.chat, AudioForm.RAW, sock=unread, max_queue=1) as client:
            await client.handshake()
            sending = asyncio.create_task(_send_without_reading(client))
            await wait_until(lambda: served.service.running == 1)
            sending.cancel()
            client.abort()
        counts = served.service.metrics.counts
        assert counts[Count.FRAMES_UNSENT] > 0 and counts[Count.FRAMES] > OUTBOX_FRAMES


async def _send_without_reading(client: ChatClient) -> None:
    frame = speech(1)[0]
    while True:
        await client.send_frame(frame)
        await asyncio.sleep(0.001)


async def _queued(served: RunningServer) -> ChatClient:
    client = await _connect(served.chat + "?events=1")
    await client.event("queue")
    assert served.service.waiting == 1
    return client


async def _greeted(served: RunningServer) -> ChatClient:
    client = await _connect(served.chat)
    await client.handshake()
    return client


async def _in_call(served: RunningServer) -> ChatClient:
    client = await _greeted(served)
    await client.send_frame(speech(1)[0])
    await client.receive_frame()
    return client


async def _draining(served: RunningServer) -> ChatClient:
    client = await _connect(served.chat + "?max_steps=1")
    await client.handshake()
    await client.send_frame(speech(1)[0])  # its reply is the last one of the call
    return client


async def _connect(url: str) -> ChatClient:
    return ChatClient(await connect(url, compression=None, proxy=None), AudioForm.OGG)


@pytest.mark.parametrize("state", [_greeted, _in_call, _draining])
async def test_slot_is_freed_after_its_client_vanishes(
    serve: Serve, state: Callable[[RunningServer], Awaitable[ChatClient]]
):
    served = await serve()
    async with unaffected_neighbour(served):
        for _ in range(3):
            client = await state(served)
            client.abort()
            await wait_until(lambda: served.service.running == 1)


async def test_queue_place_is_freed_after_its_client_vanishes(serve: Serve):
    served = await serve(slots=1)
    async with unaffected_neighbour(served):
        for _ in range(3):
            client = await _queued(served)
            client.abort()
            await wait_until(lambda: served.service.waiting == 0)
        assert served.service.running == 1


@pytest.mark.usefixtures("short_watch_interval")
@pytest.mark.parametrize("speaks", [False, True])
async def test_call_without_audio_ends_with_an_error_message(serve: Serve, speaks: bool):
    served = await serve(**({"quiet_s": 0.2} if speaks else {"first_audio_s": 0.2}))
    async with open_chat(served.chat) as client:
        await client.handshake()
        if speaks:
            await client.send_frame(speech(1)[0])
        code, _ = await client.wait_closed()
        assert code == 1008 and "0.2 s" in client.errors[-1]
    await wait_until(lambda: served.service.running == 0)


async def test_thousand_silent_connections_use_no_more_than_the_slots_and_the_queue(serve: Serve):
    served = await serve(slots=4, max_waiting=8, refuse_when_full=True)
    silent = [
        await asyncio.open_connection("127.0.0.1", served.port) for _ in range(100)
    ]  # they do not even send a request
    async with unaffected_neighbour(served):
        limit = asyncio.Semaphore(50)

        async def call(number: int) -> ChatClient | int:
            async with limit:
                try:
                    return await _connect(served.chat + ("?events=1" if number % 10 == 0 else ""))
                except InvalidStatus as refusal:
                    return refusal.response.status_code

        answers = await asyncio.gather(*(call(number) for number in range(900)))
        clients = [answer for answer in answers if isinstance(answer, ChatClient)]
        assert answers.count(503) > 700
        assert (served.service.running, served.service.waiting) == (4, 8)
        for client in clients:
            client.abort()
        await wait_until(lambda: (served.service.running, served.service.waiting) == (1, 0))
    for _, writer in silent:
        writer.close()
    async with asyncio.timeout(TIMEOUT_S), open_chat(served.chat) as client:
        await client.handshake()
