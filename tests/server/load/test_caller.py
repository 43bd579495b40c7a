"""The caller against servers that misbehave, each a few lines of script on a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from server.audio.framing import FRAME_S
from server.load import caller as caller_module
from server.load.caller import LEAST_INTERVAL, Caller, CallRecord
from server.wire.kyutai import AudioForm, AudioReceived, KyutaiProtocol

SPEECH = [[bytes([0x68, frame, packet]) * 20 for packet in range(4)] for frame in range(3)]
FRAMES = 6

Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script, **options: object) -> AsyncIterator[str]:
    async with serve(script, "127.0.0.1", 0, **options) as server:  # pyright: ignore[reportArgumentType]
        host, port = server.sockets[0].getsockname()
        yield f"ws://{host}:{port}/api/chat"


async def call(script: Script, form: AudioForm = AudioForm.OGG, **options: object) -> CallRecord:
    async with serving(script, **options) as url:
        caller = Caller(url, form, SPEECH, FRAMES)
        await caller.talk(lambda: None)
        return caller.record


async def echo(socket: ServerConnection) -> None:
    wire = KyutaiProtocol()
    await socket.send(wire.handshake())
    async for message in socket:
        for event in wire.receive(message):
            if isinstance(event, AudioReceived):
                for answer in wire.audio(event.packets):
                    await socket.send(answer)
                await socket.send(wire.text("a"))


@pytest.mark.parametrize(("form", "messages"), [(AudioForm.OGG, FRAMES), (AudioForm.RAW, 4 * FRAMES)])
async def test_a_whole_call_in_both_forms(form: AudioForm, messages: int) -> None:
    record = await call(echo, form)
    assert record.failure is None
    assert record.greeted_after_s is not None
    assert len(record.sent_at) == len(record.heard_at) == FRAMES
    assert len(record.late_by_s) == record.text_pieces == messages
    assert all(sent <= heard for sent, heard in zip(record.sent_at, record.heard_at, strict=True))


async def test_what_is_sent_is_the_speech_going_round() -> None:
    heard: list[bytes] = []

    async def listen(socket: ServerConnection) -> None:
        wire = KyutaiProtocol()
        await socket.send(wire.handshake())
        async for message in socket:
            heard.extend(p for e in wire.receive(message) if isinstance(e, AudioReceived) for p in e.packets)

    record = await call(listen)
    assert heard == [packet for packets in SPEECH * 2 for packet in packets]
    assert record.failure == "no audio came back"


async def test_frames_never_follow_each_other_in_a_burst() -> None:
    record = await call(echo)
    intervals = [b - a for a, b in zip(record.sent_at, record.sent_at[1:], strict=False)]
    assert min(intervals) >= LEAST_INTERVAL * FRAME_S - 1e-3
    assert min(record.late_by_s) >= 0


async def test_a_refusal_before_the_upgrade_is_told_in_its_own_words() -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response:
        body = json.dumps({"error": {"code": "full", "message": "All lines are busy."}})
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, body)

    record = await call(echo, process_request=refuse)
    assert record.failure == "HTTP 503: All lines are busy."
    assert record.greeted_after_s is None


async def test_a_refusal_without_json_is_told_as_it_is() -> None:
    record = await call(echo, process_request=lambda s, r: s.respond(HTTPStatus.FORBIDDEN, "go away"))
    assert record.failure == "HTTP 403: go away"


async def test_the_servers_last_words_are_the_reason() -> None:
    async def full(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().error("The line is full."))
        await socket.close(1013, "full")

    assert (await call(full)).failure == "The line is full."


async def test_a_close_in_mid_call_is_a_failure() -> None:
    async def leave(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().handshake())
        await socket.recv()
        await socket.close(1011, "our fault")

    record = await call(leave)
    assert record.failure == "closed with 1011 our fault"
    assert record.greeted_after_s is not None


async def test_a_polite_goodbye_before_the_end_is_a_failure_too() -> None:
    async def goodbye(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().handshake())
        await socket.recv()

    assert (await call(goodbye)).failure == "the server hung up before the end"


async def test_a_broken_connection_is_a_failure() -> None:
    async def vanish(socket: ServerConnection) -> None:
        socket.transport.abort()

    assert (await call(vanish)).failure == "the connection broke"


async def test_a_server_that_never_greets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_module, "GREETING_WITHIN_S", 0.05)

    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    record = await call(silent)
    assert record.failure is not None
    assert record.failure.startswith("no greeting")
    assert record.sent_at == []


async def test_a_server_that_breaks_the_protocol() -> None:
    async def text(socket: ServerConnection) -> None:
        await socket.send("hello")
        await socket.wait_closed()

    failure = (await call(text)).failure
    assert failure is not None
    assert failure.startswith("the server broke the protocol")


async def test_nobody_there() -> None:
    async with serving(echo) as url:
        pass
    caller = Caller(url, AudioForm.OGG, SPEECH, FRAMES)
    await caller.talk(lambda: None)
    assert caller.record.failure is not None
    assert caller.record.failure.startswith("cannot connect")
