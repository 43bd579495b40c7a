"""Clients that know no queue: held without a handshake on a full or starting server, and refused as they understand."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.metrics import Count
from tests.fakes import TalkingRunner
from tests.server.access.test_call_tokens import KEY, minted
from tests.server.access.test_middleware import TOKEN, bearer, refused
from tests.server.chat_client import TIMEOUT_S, open_chat, speech, wait_until
from tests.server.conftest import Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")


async def test_client_without_events_waits_in_the_same_queue_and_hears_nothing_before_its_greeting(serve: Serve):
    served = await serve(slots=1, max_waiting=2)
    async with open_chat(served.chat) as first, open_chat(served.chat) as held:
        await first.handshake()
        await wait_until(lambda: served.service.waiting == 1)
        async with open_chat(served.chat + "?events=1") as second:
            assert (await second.event("queue"))["position"] == 2
            async with open_chat(served.chat) as third:
                assert "full" in await third.error()
                assert (await third.wait_closed())[0] == 1013
            for frame in speech(5):  # discarded: it would be lag
                await held.send_frame(frame)
            await wait_until(lambda: served.service.counts[Count.RECEIVED_BYTES] > 500)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await held.socket.recv()
            await first.socket.close()
            await held.handshake()
            assert served.service.counts[Count.FRAMES] == 0
            await held.send_frame(speech(1)[0])
            await held.receive_frame()
            assert held.events == []
            assert (await second.event("queue"))["position"] == 1


async def test_held_client_is_refused_with_1013_when_the_server_stops(serve: Serve):
    served = await serve(slots=1)
    async with open_chat(served.chat) as first, open_chat(served.chat) as held:
        await first.handshake()
        await wait_until(lambda: served.service.waiting == 1)
        served.server.end()
        assert "stopping" in await held.error()
        assert (await held.wait_closed())[0] == 1013


async def test_held_client_that_sends_too_much_is_disconnected(serve: Serve):
    served = await serve(slots=1, max_bytes_per_s=1000)
    async with open_chat(served.chat) as first, open_chat(served.chat) as held:
        await first.handshake()
        await wait_until(lambda: served.service.waiting == 1)
        for _ in range(200):
            await held.socket.send(b"\1" + bytes(1000))
        assert (await held.wait_closed())[0] == 1008
        assert served.service.waiting == 0


async def test_client_is_held_while_the_model_loads_and_gets_its_defaults(serve: Serve):
    warm = threading.Event()

    class LoadingRunner(TalkingRunner):
        def warm_up(self) -> None:
            assert warm.wait(TIMEOUT_S)
            super().warm_up()

    runner = LoadingRunner(1)
    served = await serve(make_runner=lambda: runner, ready=False)
    async with open_chat(served.chat + "?text_topk=7") as held, open_chat(served.chat) as next_one:
        await wait_until(lambda: served.service.waiting == 2)
        warm.set()
        await held.handshake()
        await wait_until(lambda: served.service.waiting == 1)
        assert [(slot, params.text_topk) for slot, params in runner.started] == [(0, 7)]
        await served.service.check_integrity()
        await held.socket.close()
        await next_one.handshake()


async def test_full_server_that_stands_behind_a_balancer_refuses_with_503(serve: Serve):
    served = await serve(slots=1, refuse_when_full=True)
    async with open_chat(served.chat) as first, open_chat(served.chat + "?events=1") as queued:
        await first.handshake()
        assert await refused(served.chat) == (503, "full")
        assert (await queued.event("queue"))["position"] == 1


@pytest.mark.parametrize("query", ["", "?events=1"])
async def test_call_token_is_not_spent_by_waiting(serve: Serve, query: str):
    served = await serve(slots=1, token=TOKEN, call_token_key=KEY)
    token = minted()
    async with open_chat(served.chat, **bearer(TOKEN)) as first:
        await first.handshake()
        async with open_chat(served.chat + query, **bearer(token)):
            await wait_until(lambda: served.service.waiting == 1)
            assert await refused(served.chat, **bearer(token)) == (401, "token_used"), "it waits already"
        await wait_until(lambda: served.service.waiting == 0)
    async with open_chat(served.chat + query, **bearer(token)) as client:
        await client.handshake()
    assert await refused(served.chat, **bearer(token)) == (401, "token_used")


async def test_held_client_that_leaves_frees_its_place(serve: Serve):
    served = await serve(slots=1)
    async with open_chat(served.chat) as first:
        await first.handshake()
        async with open_chat(served.chat) as held:
            await wait_until(lambda: served.service.waiting == 1)
            held.abort()
            await wait_until(lambda: served.service.waiting == 0)
    assert served.service.counts[Count.QUEUE_LEFT] == 1
