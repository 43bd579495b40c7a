"""Requests take turns: what waits is done in order, with time for calls between two items."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from server.transport.turns import PAUSE_S, Turns
from tests.server.chat_client import wait_until
from tests.server.conftest import Serve
from tests.server.transport.handshakes import head


async def test_items_are_done_in_order_with_a_pause_between_two_of_them():
    loop = asyncio.get_running_loop()
    turns, done = Turns(loop), list[tuple[int, float]]()
    for number in range(5):
        turns.ask(lambda number=number: done.append((number, loop.time())))
    assert not done, "what asks goes on first"
    await wait_until(lambda: len(done) == 5)
    assert [number for number, _ in done] == list(range(5))
    assert all(later - earlier >= PAUSE_S for (_, earlier), (_, later) in pairwise(done))


async def test_failing_item_does_not_stop_the_others():
    loop, done = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda *_: done.append("failed"))
    turns = Turns(loop)
    turns.ask(lambda: 1 / 0)  # type: ignore[arg-type]
    turns.ask(lambda: done.append("next"))
    await wait_until(lambda: len(done) == 2)
    assert done == ["failed", "next"]


async def test_pipelined_requests_are_all_answered(serve: Serve):
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head("/healthz") * 99 + head("/healthz", "Connection: close"))
    async with asyncio.timeout(20):
        assert (await reader.read()).count(b'{"status":"ok"}') == 100
    writer.close()
