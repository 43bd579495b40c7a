"""Calls of the checks; each is hung up when its test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.fleet.caller import FleetCaller
from tests.server.chat_client import open_chat

StartCall = Callable[[str], Awaitable[FleetCaller]]


@pytest_asyncio.fixture(loop_scope="module")
async def call() -> AsyncIterator[StartCall]:
    """``await call(url)`` starts a call. Raises InvalidStatus if it is refused."""
    async with AsyncExitStack() as calls:

        async def start(url: str) -> FleetCaller:
            client = await calls.enter_async_context(open_chat(url))
            await client.handshake()
            caller = FleetCaller(client, await client.event("ready") if "events=1" in url else None)
            calls.push_async_callback(caller.hang_up)
            return caller

        yield start
