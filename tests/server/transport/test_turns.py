"""Requests take turns: what waits is done in order, one item in each round of the event loop."""

from __future__ import annotations

import asyncio

from server.transport.turns import Turns
from tests.server.conftest import Serve
from tests.server.transport.handshakes import head


async def test_one_item_is_done_in_each_round_of_the_event_loop():
    loop, done = asyncio.get_running_loop(), []
    turns = Turns(loop)
    for number in range(5):
        turns.ask(lambda number=number: done.append(number))
    for rounds in range(6):
        assert done == list(range(max(0, rounds)))[:5]
        await asyncio.sleep(0)


async def test_failing_item_does_not_stop_the_others():
    loop, done = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda *_: done.append("failed"))
    turns = Turns(loop)
    turns.ask(lambda: 1 / 0)  # type: ignore[arg-type]
    turns.ask(lambda: done.append("next"))
    await asyncio.sleep(0.01)
    assert done == ["failed", "next"]


async def test_pipelined_requests_are_all_answered(serve: Serve):
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head("/healthz") * 99 + head("/healthz", "Connection: close"))
    async with asyncio.timeout(20):
        assert (await reader.read()).count(b'{"status":"ok"}') == 100
    writer.close()
