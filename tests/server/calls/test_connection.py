"""How a connection shares the event loop, and that it leaves no garbage."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed

from server.access.identity import ClientIdentity
from server.access.policy import AccessPolicy
from server.calls.connection import Connection
from server.calls.receiver import MAX_UNDECODABLE
from server.calls.service import Service
from server.dialects.kyutai import KyutaiDialect
from server.dialects.kyutai_protocol import AudioForm
from server.engine.echo_runner import EchoRunner
from server.metrics import Count
from server.settings import Settings
from tests.server.chat_client import TIMEOUT_S, open_chat, wait_until
from tests.server.conftest import Serve

MESSAGES = 800


def flooded_socket(message: bytes, on_read: Callable[[], object]) -> WebSocket:
    """A socket that delivers all its messages without a wait after the handshake, and then disconnects."""
    left = MESSAGES
    handshake_sent = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal left
        if left == MESSAGES:
            left -= 1
            return {"type": "websocket.connect"}
        await handshake_sent.wait()
        left -= 1
        on_read()
        return (
            {"type": "websocket.receive", "bytes": message} if left else {"type": "websocket.disconnect", "code": 1000}
        )

    async def send(event: Any) -> None:
        if event.get("bytes") == b"\0":
            asyncio.get_running_loop().call_soon(handshake_sent.set)

    scope = {"type": "websocket", "query_string": b"", "headers": [], "path": "/", "subprotocols": []}
    return WebSocket({**scope, "identity": ClientIdentity(is_operator=True, client_key=None)}, receive, send)


@pytest.mark.parametrize("message", [b"", b"\1\xf8\xff\xfe", b"\4{}"], ids=["empty", "audio", "metadata"])
async def test_event_loop_is_shared_while_one_client_floods(message: bytes):
    settings = Settings(model="echo", slots=1)
    service = Service(settings, lambda: EchoRunner(1))
    service.start()
    await wait_until(lambda: service.status == "ready")
    turn, turns_of_reads = 0, set[int]()
    socket = flooded_socket(message, lambda: turns_of_reads.add(turn))
    connection = Connection(socket, service, AccessPolicy(settings), KyutaiDialect)
    call = asyncio.create_task(connection.run())
    async with asyncio.timeout(TIMEOUT_S):
        while not call.done():
            await asyncio.sleep(0)
            turn += 1
    service.stop()
    assert service.metrics.counts[Count.SESSIONS_ENDED] == 1
    assert len(turns_of_reads) >= MESSAGES // 10, "too many messages were read in one turn of the loop"


@pytest.mark.usefixtures("short_watch_interval")
@pytest.mark.parametrize(
    ("query", "message"),
    [("", b""), ("?events=1", b""), ("", b"\1\xff\xff"), ("", "text"), ("?seed=x", b""), ("?events=1&resume=x", b"")],
    ids=["call", "parked call", "undecodable audio", "text message", "invalid parameter", "invalid resume token"],
)
async def test_ended_connection_is_freed_without_garbage_collection(serve: Serve, query: str, message: bytes | str):
    served = await serve(resume_s=0.01)
    gc.collect()
    gc.disable()
    try:
        async with open_chat(served.chat + query, AudioForm.RAW) as client:
            with suppress(ConnectionClosed):
                await client.handshake()
                for _ in range(MAX_UNDECODABLE if message else 1):
                    await client.socket.send(message)
                client.abort() if not message else await client.wait_closed()
        await wait_until(lambda: not [found for found in gc.get_objects() if isinstance(found, Connection)])
    finally:
        gc.enable()


class ScriptedSocket:
    """A WebSocket request without a socket: what it is sent is kept, and it says what a test tells it to."""

    def __init__(self, service: Service, query: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self._incoming = asyncio.Queue[dict[str, Any]]()
        self._incoming.put_nowait({"type": "websocket.connect"})
        identity = ClientIdentity(is_operator=True, client_key=None)
        scope = {"type": "websocket", "query_string": query.encode(), "headers": [], "path": "/", "subprotocols": []}
        socket = WebSocket({**scope, "identity": identity}, self._incoming.get, self._send)
        policy = AccessPolicy(service.settings)
        self.task = asyncio.create_task(Connection(socket, service, policy, KyutaiDialect).run())

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def disconnect(self, code: int) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    def events(self, kind: str) -> list[dict[str, Any]]:
        texts = [message["bytes"][1:] for message in self.sent if message.get("bytes", b"")[:1] == b"\4"]
        return [event for event in map(json.loads, texts) if event["type"] == kind]


async def test_two_resumes_at_the_same_moment_take_over_one_after_the_other():
    service = Service(Settings(model="echo", slots=1), lambda: EchoRunner(1))
    service.start()
    await wait_until(lambda: service.status == "ready")
    lost = ScriptedSocket(service, "events=1")
    await wait_until(lambda: lost.events("ready"))
    lost.disconnect(1006)
    await lost.task
    query = f"events=1&resume={lost.events('ready')[0]['resume']}"
    first, second = ScriptedSocket(service, query), ScriptedSocket(service, query)
    await wait_until(lambda: second.events("ready"))
    assert b"\0" in [message.get("bytes") for message in second.sent], "the second one gets the handshake"
    await first.task
    assert first.events("end") == [{"type": "end", "reason": "taken_over"}] and not first.events("ready")
    second.disconnect(1000)
    await second.task
    service.stop()
    assert service.metrics.ended == {"left": 1}
