"""The socket that reads on, and what its peer can send without ever sending a message."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.metrics import Count
from server.transport.websocket import _PAUSE_AT, WebSocketProtocol
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import open_chat, speech
from tests.server.conftest import Serve

# Whole frames of a client, RFC 6455 §5.2: final or not and its kind; masked, of no bytes; the mask.
PING, PONG = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"
BEGINNING, CONTINUATION = b"\x02\x80\0\0\0\0", b"\x00\x80\0\0\0\0"
MESSAGE, HELLO = b"\x82\x80\0\0\0\0", b"\x81\x85\0\0\0\0hello"
CLOSE = b"\x88"  # how a server's begins
TEN_THOUSAND = 10_000


class Transport:
    """Only notes whether it is read; stops and begins to, never twice."""

    def __init__(self) -> None:
        self.is_reading = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True


async def test_it_stops_reading_only_where_messages_pile_up():
    config = uvicorn.Config(lambda *_: None, interface="asgi3", log_config=None)  # type: ignore[arg-type]
    socket, transport = WebSocketProtocol(config, ServerState(), {}), Transport()
    socket.transport = transport  # type: ignore[assignment]

    def come(messages: int) -> None:
        for number in range(messages):
            socket.handle_bytes(SimpleNamespace(data=bytes([number]), fin=True))  # type: ignore[arg-type]

    come(_PAUSE_AT)
    assert transport.is_reading
    come(3)
    assert not transport.is_reading
    taken = [await socket.receive() for _ in range(_PAUSE_AT + 2)]
    assert not transport.is_reading, "one still waits"
    taken.append(await socket.receive())
    assert transport.is_reading
    assert [message["bytes"][0] for message in taken] == [*range(_PAUSE_AT), 0, 1, 2]  # type: ignore[index]
    come(1)
    assert transport.is_reading


@pytest.mark.usefixtures("unpaced_engine")
@pytest.mark.parametrize(
    "flood",
    [PING * TEN_THOUSAND, PONG * TEN_THOUSAND, BEGINNING + CONTINUATION * TEN_THOUSAND, MESSAGE * 40_000],
    ids=["pings", "pongs", "fragments", "empty messages"],
)
async def test_who_sends_frames_without_end_is_hung_up_on(serve: Serve, flood: bytes):
    served = await serve(slots=2)
    async with unaffected_neighbour(served), open_chat(served.chat) as client:
        await client.handshake()
        client.socket.transport.write(flood)
        code, reason = await client.wait_closed()
        assert code == 1008 and reason == "More came than any voice needs, so the call ends."
    assert served.service.metrics.counts[Count.SENT_BYTES] < 100_000


@pytest.mark.usefixtures("unpaced_engine")
async def test_a_message_in_parts_is_one_and_a_ping_is_answered(serve: Serve):
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        for number in range(20):
            for message in client.wire.audio(client._encoder.encode(speech(1)[0])):
                await client.socket.send([message[at : at + 20] for at in range(0, len(message), 20)])
            await client.receive_frame()
            await (await client.socket.ping(str(number)))


@pytest.mark.parametrize("frame", [PING, PONG, MESSAGE], ids=["pings", "pongs", "messages"])
async def test_who_goes_on_after_the_end_without_closing_is_cut_off(serve: Serve, frame: bytes):
    """Uvicorn reads on for ten seconds, and nobody counts."""
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    asks = "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {'A' * 22}==", "Sec-WebSocket-Version: 13"
    writer.write("\r\n".join(["GET /api/chat HTTP/1.1", f"Host: localhost:{served.port}", *asks, "", ""]).encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HELLO)  # text has no place here
    async with asyncio.timeout(8.0):
        await reader.readuntil(CLOSE)
        [socket] = served.server.server_state.connections
        writer.write(frame * 100)
        await asyncio.sleep(0.1)
        assert isinstance(socket, WebSocketProtocol) and not socket.transport.is_closing(), "some may be on their way"
        assert not socket.conn.writes, "answers that are never sent"
        writer.write(frame * TEN_THOUSAND)
        with suppress(ConnectionResetError):  # since there was more to read
            await reader.read()
    writer.close()
