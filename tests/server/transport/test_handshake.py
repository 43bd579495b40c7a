"""Every handshake gets an answer in bounded time, whichever parser it does not please."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from server.transport.request_head import MAX_HEADERS, MAX_REQUEST_LINE_BYTES
from tests.server.chat_client import TIMEOUT_S, open_chat, wait_until
from tests.server.conftest import Serve
from tests.server.transport.handshakes import UPGRADE, exchange, head

SECURITY_HEADERS = {"content-security-policy", "permissions-policy", "referrer-policy", "x-content-type-options"}


MALFORMED = [
    (413, "/api/chat", ["Content-Length: 1"]),
    (413, "/api/chat", ["Content-Length: 1", "Expect: 100-continue"]),
    (413, "/api/chat", ["Transfer-Encoding: chunked"]),
    (400, "/api/chat", ["Content-Length: 1", "Content-Length: 2"]),
    (400, "/api/chat", ["Content-Length: -1"]),
    (400, "/api/chat", ["Transfer-Encoding: gzip"]),
    (431, "/api/chat", [f"X-{i}: 1" for i in range(130)]),
    (431, "/api/chat", [f"X-{i}: 1" for i in range(5000)]),
    (431, "/api/chat", ["X: " + "x" * 20_000]),
    (431, "/api/chat", ["X: " + "x" * 200_000]),
    (431, "/api/chat", [f"X-{i}: {'x' * 8000}" for i in range(5)]),
    (414, "/api/chat?" + "x" * 70_000, []),
    (414, "/api/chat?" + "x" * 300_000, []),
    (400, "/api/chat?ä", []),
    (400, "/api/chat", ["no colon"]),
    (400, "/api/chat", ["Bad Name: 1"]),
]


@pytest.mark.parametrize("upgrade", [UPGRADE, ()], ids=["upgrade", "plain"])
async def test_malformed_handshake_is_answered_with_a_sentence_and_closed(serve: Serve, upgrade: tuple[str, ...]):
    served = await serve()
    for status, target, lines in MALFORMED:
        answer = await exchange(served.port, head(target, *upgrade, *lines))
        assert answer.status == status, lines[:2]
        assert answer.error["message"].endswith(".")
        assert answer.headers.keys() >= SECURITY_HEADERS and answer.headers["connection"] == "close"
    await wait_until(lambda: not served.server.server_state.connections)


REFUSED = [
    (400, [UPGRADE[0], UPGRADE[1], UPGRADE[3]]),
    (400, [UPGRADE[0], UPGRADE[1], UPGRADE[3], "Sec-WebSocket-Key: SECRET"]),
    (400, [*UPGRADE[:3], "Sec-WebSocket-Version: SECRET"]),
    (400, [*UPGRADE, "Sec-WebSocket-Version: 13"]),
    (400, [*UPGRADE, "Sec-WebSocket-Protocol: parley, parley.token.SECRET x"]),
    (400, [*UPGRADE, "Sec-WebSocket-Protocol: (SECRET)"]),
    (400, [*UPGRADE, "X: SECRET\x01"]),
    (426, ["Upgrade: SECRET, websocket", *UPGRADE]),
]


async def test_refused_handshake_says_nothing_that_the_client_sent(serve: Serve):
    served = await serve()
    for status, lines in REFUSED:
        answer = await exchange(served.port, head("/api/chat?token=SECRET", *lines))
        assert answer.status == status, lines
        assert "SECRET" not in str(answer)
        assert answer.headers.keys() >= SECURITY_HEADERS


async def test_handshake_with_another_method_is_answered_405(serve: Serve):
    served = await serve()
    answer = await exchange(served.port, head("/api/chat", *UPGRADE, method="DELETE"))
    assert answer.status == 405 and answer.headers["allow"] == "GET"


async def test_request_line_of_64_kib_begins_a_call(serve: Serve):
    served = await serve()
    persona = quote("😀" * 4000)
    query = "/api/chat?text_prompt=" + persona
    for line_bytes in (65_536, MAX_REQUEST_LINE_BYTES):
        padding = "&x=" + "x" * (line_bytes - len(f"GET {query}&x= HTTP/1.1\r\n") + 1)
        async with open_chat(served.chat.replace("/api/chat", query + padding)) as client:
            await client.handshake()
    answer = await exchange(served.port, head(query.replace("/api/chat", "/healthz"), "Connection: close"))
    assert answer.status == 200


async def test_many_headers_up_to_the_bound_begin_a_call(serve: Serve):
    served = await serve()
    headers = {f"X-{i}": "1" for i in range(MAX_HEADERS - 8)}
    async with open_chat(served.chat, additional_headers=headers) as client:
        await client.handshake()


async def test_unfinished_handshakes_do_not_fill_the_sockets(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    """Of any kind, and as many as there are sockets."""
    monkeypatch.setattr("server.transport.http.REQUEST_HEAD_TIMEOUT_S", 0.5)
    served = await serve(max_sockets=16)
    kinds = [
        head("/api/chat", *UPGRADE, "Content-Length: 1"),
        head("/api/chat", *UPGRADE, "Transfer-Encoding: chunked"),
        head("/api/chat", *UPGRADE, *(f"X-{i}: 1" for i in range(130))),
        head("/api/chat", *UPGRADE)[:-2],
    ]
    opened = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(16)]
    for number, (_, writer) in enumerate(opened):
        writer.write(kinds[number % 4])
    async with asyncio.timeout(TIMEOUT_S):
        for reader, writer in opened:
            await reader.read()
            writer.close()
    async with open_chat(served.chat) as client:
        await client.handshake()


async def test_handshake_that_the_application_does_not_finish_is_answered_408(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.transport.http.REQUEST_HEAD_TIMEOUT_S", 0.3)

    async def hang(*_: Any) -> None:
        await asyncio.sleep(TIMEOUT_S)

    monkeypatch.setattr("server.calls.connection.Connection.run", hang)
    served = await serve()
    answer = await exchange(served.port, head("/api/chat", *UPGRADE))
    assert answer.status == 408 and "too long" in answer.error["message"]
