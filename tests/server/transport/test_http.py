"""The time limit of a request's head."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.chat_client import TIMEOUT_S, open_chat, speech
from tests.server.conftest import Serve

REQUEST_START = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"


@pytest.mark.parametrize("has_earlier_request", [False, True])
@pytest.mark.parametrize("sent", [b"", REQUEST_START])
async def test_connection_without_a_whole_request_head_is_closed_after_its_timeout(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes, has_earlier_request: bool
):
    monkeypatch.setattr("server.transport.http.REQUEST_HEAD_TIMEOUT_S", 0.5)
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(TIMEOUT_S):
        if has_earlier_request:
            writer.write(REQUEST_START + b"\r\n")
            await reader.readuntil(b'{"status":"ok"}')
        writer.write(sent)
        assert await reader.read() == b""
    writer.close()


async def test_call_is_not_closed_after_the_request_head_timeout(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.transport.http.REQUEST_HEAD_TIMEOUT_S", 0.5)
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        reader, silent = await asyncio.open_connection("127.0.0.1", served.port)
        async with asyncio.timeout(TIMEOUT_S):
            await reader.read()  # the server closes this connection, which is younger than the call
        silent.close()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
