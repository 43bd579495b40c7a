"""The WebSocket protocol class: flow control, and frames that are not messages."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.metrics import Count
from server.transport.websocket import _PAUSE_AT_MESSAGES, WebSocketProtocol
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import open_chat, speech
from tests.server.conftest import Serve

# Whole client frames of RFC 6455 §5.2: FIN and opcode, mask bit and length, masking key.
PING, PONG = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"
FIRST_FRAGMENT, CONTINUATION = b"\x02\x80\0\0\0\0", b"\x00\x80\0\0\0\0"
EMPTY_MESSAGE, TEXT_MESSAGE = b"\x82\x80\0\0\0\0", b"\x81\x85\0\0\0\0hello"
CLOSE = b"\x88"  # first byte of a close frame of the server
TEN_THOUSAND = 10_000


class FakeTransport:
    """A transport that records whether it is read, and fails if it is paused or resumed twice."""

    def __init__(self) -> None:
        self.is_reading = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True


async def test_reading_pauses_while_too_many_messages_wait():
    config = uvicorn.Config(lambda *_: None, interface="asgi3", log_config=None)  # type: ignore[arg-type]
    socket, transport = WebSocketProtocol(config, ServerState(), {}), FakeTransport()
    socket.transport = transport  # type: ignore[assignment]

    def receive(messages: int) -> None:
        for number in range(messages):
            socket.handle_bytes(SimpleNamespace(data=bytes([number]), fin=True))  # type: ignore[arg-type]

    receive(_PAUSE_AT_MESSAGES)
    assert transport.is_reading
    receive(3)
    assert not transport.is_reading
    taken = [await socket.receive() for _ in range(_PAUSE_AT_MESSAGES + 2)]
    assert not transport.is_reading, "one message still waits"
    taken.append(await socket.receive())
    assert transport.is_reading
    assert [message["bytes"][0] for message in taken] == [*range(_PAUSE_AT_MESSAGES), 0, 1, 2]  # type: ignore[index]
    receive(1)
    assert transport.is_reading


@pytest.mark.usefixtures("unpaced_engine")
@pytest.mark.parametrize(
    "flood",
    [PING * TEN_THOUSAND, PONG * TEN_THOUSAND, FIRST_FRAGMENT + CONTINUATION * TEN_THOUSAND, EMPTY_MESSAGE * 40_000],
    ids=["pings", "pongs", "fragments", "empty messages"],
)
async def test_call_ends_with_1008_after_a_flood_of_frames(serve: Serve, flood: bytes):
    served = await serve(slots=2)
    async with unaffected_neighbour(served), open_chat(served.chat) as client:
        await client.handshake()
        client.socket.transport.write(flood)
        code, reason = await client.wait_closed()
        assert code == 1008 and reason.startswith("Rate limit exceeded")
    assert served.service.metrics.counts[Count.SENT_BYTES] < 100_000


@pytest.mark.usefixtures("unpaced_engine")
async def test_fragmented_message_is_received_and_ping_is_answered(serve: Serve):
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        for number in range(20):
            for message in client.wire.audio(client._encoder.encode(speech(1)[0])):
                await client.socket.send([message[at : at + 20] for at in range(0, len(message), 20)])
            await client.receive_frame()
            await (await client.socket.ping(str(number)))


@pytest.mark.parametrize("frame", [PING, PONG, EMPTY_MESSAGE], ids=["pings", "pongs", "messages"])
async def test_client_that_keeps_sending_after_the_close_is_disconnected(serve: Serve, frame: bytes):
    """Uvicorn itself would read for ten more seconds without a limit."""
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    asks = "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {'A' * 22}==", "Sec-WebSocket-Version: 13"
    writer.write("\r\n".join(["GET /api/chat HTTP/1.1", f"Host: localhost:{served.port}", *asks, "", ""]).encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(TEXT_MESSAGE)  # a text message ends the call
    async with asyncio.timeout(8.0):
        await reader.readuntil(CLOSE)
        [socket] = served.server.server_state.connections
        writer.write(frame * 100)
        await asyncio.sleep(0.1)
        assert isinstance(socket, WebSocketProtocol) and not socket.transport.is_closing(), (
            "a few frames may have been under way"
        )
        assert not socket.conn.writes, "pongs after the close are never sent"
        writer.write(frame * TEN_THOUSAND)
        with suppress(ConnectionResetError):  # the server closed with unread data
            await reader.read()
    writer.close()
