"""Calls of the checks: each is hung up when its test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.fleet.caller import Caller
from tests.server.chat_client import open_chat

Call = Callable[[str], Awaitable[Caller]]


@pytest_asyncio.fixture(loop_scope="module")
async def call() -> AsyncIterator[Call]:
    """``await call(url)``: a caller who talks. Raises InvalidStatus when they are refused."""
    async with AsyncExitStack() as calls:

        async def made(url: str) -> Caller:
            client = await calls.enter_async_context(open_chat(url))
            await client.handshake()
            caller = Caller(client, await client.event("ready") if "events=1" in url else None)
            calls.push_async_callback(caller.hang_up)
            return caller

        yield made
