"""What cannot be seen from outside: that one caller's flood does not keep the event loop from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.websockets import WebSocket

from server.connection import Connection
from server.doors.doors import Doors
from server.doors.visitor import Visitor
from server.engine.echo_runner import EchoRunner
from server.reception import Reception
from server.settings import Settings
from tests.server.phone import PATIENCE_S, until

MESSAGES = 800


def flooded_socket(message: bytes, on_read: Callable[[], object]) -> WebSocket:
    """A socket that has everything ready at once, once it has been greeted, and then hangs up."""
    left = MESSAGES
    greeted = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal left
        if left == MESSAGES:
            left -= 1
            return {"type": "websocket.connect"}
        await greeted.wait()
        left -= 1
        on_read()
        return (
            {"type": "websocket.receive", "bytes": message} if left else {"type": "websocket.disconnect", "code": 1000}
        )

    async def send(event: Any) -> None:
        if event.get("bytes") == b"\0":
            asyncio.get_running_loop().call_soon(greeted.set)

    scope = {"type": "websocket", "query_string": b"", "headers": [], "path": "/", "subprotocols": []}
    return WebSocket({**scope, "visitor": Visitor(True, False, False, caller=None)}, receive, send)


@pytest.mark.parametrize("message", [b"", b"\1\xf8\xff\xfe", b"\4{}"], ids=["empty", "audio", "metadata"])
async def test_others_get_their_turn_while_one_caller_floods(message: bytes):
    settings = Settings(model="echo", slots=1)
    reception = Reception(settings, lambda: EchoRunner(1))
    reception.start()
    await until(lambda: reception.status == "ready")
    turn, turns_of_reads = 0, set[int]()
    socket = flooded_socket(message, lambda: turns_of_reads.add(turn))
    connection = Connection(socket, reception, Doors(settings))
    call = asyncio.create_task(connection.run())
    async with asyncio.timeout(PATIENCE_S):
        while not call.done():
            await asyncio.sleep(0)
            turn += 1
    reception.stop()
    assert reception.metrics.counts["calls"] == 1
    assert len(turns_of_reads) >= MESSAGES // 10, "too many messages were read in one turn of the loop"
