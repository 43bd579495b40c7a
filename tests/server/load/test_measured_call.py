"""A measured call against scripted servers on a real socket, most of which misbehave."""

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
from server.client.packet_pacer import MIN_INTERVAL_SHARE
from server.dialects.kyutai_protocol import AudioForm, AudioReceived, KyutaiProtocol
from server.load import faults, measured_call
from server.load.call_record import CallRecord
from server.load.faults import Disconnect, FaultRates, FaultSchedule
from server.load.measured_call import CallSpec, MeasuredCall
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
        call = MeasuredCall(CallSpec(url, form, SPEECH, FRAMES))
        await call.run()
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
async def test_a_whole_call_in_each_form(form: AudioForm, messages: int) -> None:
    record = await call(echo, form)
    assert record.failure is None
    assert record.handshake_after_s is not None
    assert len(record.sent_at) == len(record.received_at) == FRAMES
    assert len(record.late_by_s) == record.text_pieces == messages
    assert all(sent <= heard for sent, heard in zip(record.sent_at, record.received_at, strict=True))


async def test_speech_is_repeated_when_it_runs_out() -> None:
    heard: list[bytes] = []

    async def listen(socket: ServerConnection) -> None:
        wire = KyutaiProtocol()
        await socket.send(wire.handshake())
        async for message in socket:
            heard.extend(p for e in wire.receive(message) if isinstance(e, AudioReceived) for p in e.packets)

    record = await call(listen)
    assert heard == [packet for packets in SPEECH * 2 for packet in packets]
    assert record.failure == "no audio came back"


async def test_frames_are_never_sent_in_a_burst() -> None:
    record = await call(echo)
    intervals = [b - a for a, b in zip(record.sent_at, record.sent_at[1:], strict=False)]
    assert min(intervals) >= MIN_INTERVAL_SHARE * FRAME_S - 1e-3
    assert min(record.late_by_s) >= 0


async def test_a_json_refusal_before_the_upgrade_is_reported_by_its_message() -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response:
        body = json.dumps({"error": {"code": "full", "message": "All lines are busy."}})
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, body)

    record = await call(echo, process_request=refuse)
    assert record.failure == "HTTP 503: All lines are busy."
    assert record.handshake_after_s is None


async def test_a_refusal_without_json_is_reported_by_its_body() -> None:
    record = await call(echo, process_request=lambda s, r: s.respond(HTTPStatus.FORBIDDEN, "go away"))
    assert record.failure == "HTTP 403: go away"


async def test_an_error_message_is_the_reason_of_the_failure() -> None:
    async def full(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().error("The line is full."))
        await socket.close(1013, "full")

    assert (await call(full)).failure == "The line is full."


async def test_control_characters_of_an_error_message_are_replaced() -> None:
    async def steer(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().error("\x1b[2J" + 1_000 * "x"))
        await socket.close(1011, "x")

    failure = (await call(steer)).failure
    assert failure is not None
    assert failure.isprintable()
    assert failure.startswith("?[2Jx")
    assert len(failure) == 200


async def test_a_close_during_the_call_is_a_failure() -> None:
    async def leave(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().handshake())
        await socket.recv()
        await socket.close(1011, "our fault")

    record = await call(leave)
    assert record.failure == "closed with 1011 our fault"
    assert record.handshake_after_s is not None


async def test_a_normal_close_during_the_call_is_a_failure_too() -> None:
    async def close_early(socket: ServerConnection) -> None:
        await socket.send(KyutaiProtocol().handshake())
        await socket.recv()

    assert (await call(close_early)).failure == "the server closed the call early"


async def test_a_broken_connection_is_a_failure() -> None:
    async def vanish(socket: ServerConnection) -> None:
        socket.transport.abort()

    assert (await call(vanish)).failure == "connection lost"


async def test_a_server_that_sends_no_handshake_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_call, "HANDSHAKE_TIMEOUT_S", 0.05)

    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    record = await call(silent)
    assert record.failure is not None
    assert record.failure.startswith("no handshake")
    assert list(record.sent_at) == []


async def test_a_text_message_breaks_the_protocol() -> None:
    async def text(socket: ServerConnection) -> None:
        await socket.send("hello")
        await socket.wait_closed()

    failure = (await call(text)).failure
    assert failure is not None
    assert failure.startswith("the server broke the protocol")


async def test_a_refused_connection_is_a_failure() -> None:
    async with serving(echo) as url:
        pass
    call = MeasuredCall(CallSpec(url, AudioForm.OGG, SPEECH, FRAMES))
    await call.run()
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
    assert len(record.received_at) == FRAMES


async def test_hanging_up_is_no_failure() -> None:
    async with serving(echo) as url:
        call = MeasuredCall(CallSpec(url, AudioForm.RAW, SPEECH, 1000))
        talking = asyncio.create_task(call.run())
        await until(lambda: len(call.record.received_at) >= 2)
        call.hang_up()
        await talking
    assert call.record.failure is None
    assert call.record.ended_at
    assert len(call.record.received_at) == len(call.record.sent_at) < 10


async def test_hanging_up_before_the_handshake_is_no_failure() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serving(silent) as url:
        call = MeasuredCall(CallSpec(url, AudioForm.OGG, SPEECH, FRAMES))
        asyncio.get_running_loop().call_later(0.1, call.hang_up)
        await call.run()
    assert call.record.failure is None


async def call_with(rates: FaultRates, form: AudioForm = AudioForm.RAW, frames: int = 25) -> MeasuredCall:
    async with serving(echo) as url:
        call = MeasuredCall(CallSpec(url, form, SPEECH, frames), faults=FaultSchedule(rates, seed=1))
        await call.run()
        return call


async def test_lost_messages_are_not_recorded_as_sent() -> None:
    record = (await call_with(FaultRates(loss=50))).record
    assert record.failure is None
    assert 5 < len(record.sent_at) < 20
    assert len(record.received_at) == len(record.sent_at)
    assert len(record.late_by_s) == 100


async def test_a_stall_delays_everything_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "STALL_S", (0.5, 0.5))
    record = (await call_with(FaultRates(stall=60))).record
    assert record.failure is None
    assert len(record.received_at) == len(record.sent_at) == 25
    gaps = [b - a for a, b in itertools.pairwise(record.received_at)]
    assert max(gaps) > 0.4  # nothing came
    assert min(gaps) < 0.01  # then all of it


async def test_a_call_waits_for_a_stall_at_its_end() -> None:
    async with serving(echo) as url:
        call = MeasuredCall(CallSpec(url, AudioForm.RAW, SPEECH, FRAMES))
        talking = asyncio.create_task(call.run())
        await until(lambda: call.spoken_frames >= FRAMES - 1)
        call._socket.stall(0.6)
        await talking
    assert len(call.record.received_at) == len(call.record.sent_at) == FRAMES


@pytest.mark.parametrize(
    ("rates", "disconnect"),
    [(FaultRates(drop=120), Disconnect.DROP), (FaultRates(reconnect=120), Disconnect.RECONNECT)],
)
async def test_an_injected_disconnect_is_no_failure(rates: FaultRates, disconnect: Disconnect) -> None:
    close_codes: list[int | None] = []

    async def listen(socket: ServerConnection) -> None:
        await echo(socket)
        close_codes.append(socket.close_code)

    async with serving(listen) as url:
        call = MeasuredCall(CallSpec(url, AudioForm.OGG, SPEECH, 100), faults=FaultSchedule(rates, seed=1))
        await call.run()
    assert call.disconnect is disconnect
    assert call.record.was_disconnected
    assert call.record.failure is None
    assert 0 < call.spoken_frames < 100


async def test_resume_token_and_skips_are_taken_from_events() -> None:
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
        call = MeasuredCall(CallSpec(url, AudioForm.OGG, SPEECH, FRAMES))
        await call.run()
    assert call.resume_token == "the-token"
    assert call.record.skips == [(1, 3)]


async def test_nothing_more_is_sent_to_a_server_that_does_not_read() -> None:
    loud = [[bytes([0x68]) * 5_000] * 4]

    is_enough = asyncio.Event()

    async def deaf(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await socket.send(KyutaiProtocol().handshake())
        await is_enough.wait()
        socket.transport.abort()

    async with serving(deaf) as url:
        call = MeasuredCall(CallSpec(url, AudioForm.RAW, loud * 200, 100_000))
        call._pacer.interval_s = 0.0001
        talking = asyncio.create_task(call.run())
        await until(lambda: call.record.unsent_samples)
        call.hang_up()
        is_enough.set()
        await talking
