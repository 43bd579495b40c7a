"""Calls to a server whose slots are all in use: refused, or queued."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from tests.server.chat_client import ChatClient, open_chat
from tests.server.conftest import Serve
from tests.server.server_process import get


async def test_full_server_refuses_a_call_with_503_where_a_balancer_needs_that(serve: Serve):
    served = await serve(slots=1, refuse_when_full=True)
    async with open_chat(served.chat) as client:
        await client.handshake()
        with pytest.raises(InvalidStatus) as refused:
            async with open_chat(served.chat):
                pass
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert response.headers["Content-Type"] == "application/json"
        assert b'"code":"full"' in (response.body or b"")
        assert (await asyncio.to_thread(get, served.http + "/readyz"))[0] == 200, "a full server is still ready"


async def test_calls_with_events_wait_in_the_queue_and_move_up(serve: Serve):
    served = await serve(slots=1, max_waiting=2)
    url = served.chat + "?events=1"
    async with open_chat(url) as first, open_chat(url) as second, open_chat(url) as third, open_chat(url) as fourth:
        await first.handshake()
        assert (await second.event("queue"))["position"] == 1
        assert (await third.event("queue"))["position"] == 2
        assert "full" in await fourth.error()
        assert (await fourth.wait_closed())[0] == 1013
        await first.socket.close()
        await second.handshake()
        assert await next_position(third) == 1
        await second.socket.close()
        await third.handshake()


async def next_position(client: ChatClient) -> int:
    """Wait for the next queue event; return its position."""
    return (await client.event("queue"))["position"]
