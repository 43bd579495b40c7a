"""The caller against servers that misbehave, each a few lines of script on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from server.audio.framing import FRAME_S
from server.dialects.kyutai_protocol import AudioForm, AudioReceived, KyutaiProtocol
from server.load import call as call_module
from server.load import troubles
from server.load.call import LEAST_INTERVAL, Call, Errand
from server.load.record import CallRecord
from server.load.troubles import Cut, Faults, Trouble
from tests.server.load.records import until

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
        call = Call(Errand(url, form, SPEECH, FRAMES))
        await call.talk()
        return call.record


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


async def test_the_servers_last_words_do_not_steer_our_terminal() -> None:
    async def steer(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().error("\x1b[2J" + 1_000 * "x"))
        await socket.close(1011, "x")

    failure = (await call(steer)).failure
    assert failure is not None
    assert failure.isprintable()
    assert failure.startswith("?[2Jx")
    assert len(failure) == 200


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
    monkeypatch.setattr(call_module, "GREETING_WITHIN_S", 0.05)

    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    record = await call(silent)
    assert record.failure is not None
    assert record.failure.startswith("no greeting")
    assert list(record.sent_at) == []


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
    call = Call(Errand(url, AudioForm.OGG, SPEECH, FRAMES))
    await call.talk()
    assert call.record.failure is not None
    assert call.record.failure.startswith("cannot connect")


async def test_a_message_in_fragments_is_one_message() -> None:
    async def slices(socket: ServerConnection) -> None:
        wire = KyutaiProtocol()
        await socket.send([wire.handshake()])
        async for message in socket:
            for event in wire.receive(message):
                if isinstance(event, AudioReceived):
                    for answer in wire.audio(event.packets):
                        await socket.send([answer[:1], answer[1:30], answer[30:]])

    record = await call(slices)
    assert record.failure is None
    assert len(record.heard_at) == FRAMES


async def test_a_caller_who_hangs_up_has_not_failed() -> None:
    async with serving(echo) as url:
        call = Call(Errand(url, AudioForm.RAW, SPEECH, 1000))
        talking = asyncio.create_task(call.talk())
        await until(lambda: len(call.record.heard_at) >= 2)
        call.hang_up()
        await talking
    assert call.record.failure is None
    assert call.record.over_at
    assert len(call.record.heard_at) == len(call.record.sent_at) < 10


async def test_what_one_hangs_up_before_the_greeting_is_no_failure() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serving(silent) as url:
        call = Call(Errand(url, AudioForm.OGG, SPEECH, FRAMES))
        asyncio.get_running_loop().call_later(0.1, call.hang_up)
        await call.talk()
    assert call.record.failure is None


async def troubled(faults: Faults, form: AudioForm = AudioForm.RAW, frames: int = 25) -> Call:
    async with serving(echo) as url:
        call = Call(Errand(url, form, SPEECH, frames), trouble=Trouble(faults, seed=1))
        await call.talk()
        return call


async def test_what_is_lost_was_not_sent() -> None:
    record = (await troubled(Faults(loss=50))).record
    assert record.failure is None
    assert 5 < len(record.sent_at) < 20
    assert len(record.heard_at) == len(record.sent_at)
    assert len(record.late_by_s) == 100


async def test_a_stalled_line_lets_everything_through_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troubles, "STALL_S", (0.5, 0.5))
    record = (await troubled(Faults(stall=60))).record
    assert record.failure is None
    assert len(record.heard_at) == len(record.sent_at) == 25
    gaps = [b - a for a, b in itertools.pairwise(record.heard_at)]
    assert max(gaps) > 0.4  # nothing came
    assert min(gaps) < 0.01  # then all of it


async def test_a_line_that_stalls_at_the_end_still_lets_the_rest_through() -> None:
    async with serving(echo) as url:
        call = Call(Errand(url, AudioForm.RAW, SPEECH, FRAMES))
        talking = asyncio.create_task(call.talk())
        await until(lambda: call.spoken_frames >= FRAMES - 1)
        call._line.stall(0.6)
        await talking
    assert len(call.record.heard_at) == len(call.record.sent_at) == FRAMES


@pytest.mark.parametrize(("faults", "cut"), [(Faults(drop=120), Cut.GONE), (Faults(reconnect=120), Cut.RECONNECTS)])
async def test_a_cut_line_is_no_failure_of_the_server(faults: Faults, cut: Cut) -> None:
    goodbyes: list[int | None] = []

    async def listen(socket: ServerConnection) -> None:
        await echo(socket)
        goodbyes.append(socket.close_code)

    async with serving(listen) as url:
        call = Call(Errand(url, AudioForm.OGG, SPEECH, 100), trouble=Trouble(faults, seed=1))
        await call.talk()
    assert call.cut is cut
    assert call.record.was_cut
    assert call.record.failure is None
    assert 0 < call.spoken_frames < 100


async def test_what_a_server_tells_those_who_ask() -> None:
    async def talkative(socket: ServerConnection) -> None:
        wire = KyutaiProtocol()
        await socket.send(wire.metadata({"type": "ready", "resume": "the-token"}))
        await socket.send(wire.handshake())
        await socket.recv()
        await socket.send(wire.metadata({"type": "skip", "frames": 3}))
        for nonsense in (
            '{"type": "skip", "frames": -1}',
            '{"type": "skip"}',
            '{"type": "ready", "resume": null}',
            "{}",
        ):
            await socket.send(b"\x04" + nonsense.encode())
        await socket.wait_closed()

    async with serving(talkative) as url:
        call = Call(Errand(url, AudioForm.OGG, SPEECH, FRAMES))
        await call.talk()
    assert call.resume == "the-token"
    assert call.record.skips == [(1, 3)]


async def test_a_server_that_reads_nothing_is_not_sent_ever_more() -> None:
    loud = [[bytes([0x68]) * 5_000] * 4]

    is_enough = asyncio.Event()

    async def deaf(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await socket.send(KyutaiProtocol().handshake())
        await is_enough.wait()
        socket.transport.abort()

    async with serving(deaf) as url:
        call = Call(Errand(url, AudioForm.RAW, loud * 200, 100_000))
        call._interval_s = 0.0001
        talking = asyncio.create_task(call.talk())
        await until(lambda: call.record.unsent_samples)
        call.hang_up()
        is_enough.set()
        await talking
