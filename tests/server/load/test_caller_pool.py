"""Callers of one process, against an echo on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve

from server.audio.framing import FRAME_S
from server.dialects.kyutai_protocol import AudioForm, AudioReceived, KyutaiProtocol
from server.load import caller_pool
from server.load.call_log import CallLog
from server.load.caller_pool import CallerPool
from server.load.faults import FaultRates
from server.load.figures import summary
from server.load.workload import DurationMix, Workload
from tests.server.load.records import until

SPEECH = [[bytes([0x68, frame, packet]) * 20 for packet in range(4)] for frame in range(25)]
SHORT = DurationMix(((2 * FRAME_S, 2 * FRAME_S),))
LONG = DurationMix(((600, 600),))


class RecordingEcho:
    """An echo server that records the requests it got."""

    def __init__(self) -> None:
        self.queries: list[dict[str, list[str]]] = []
        self.forms: list[AudioForm | None] = []
        self.headers: list[str | None] = []
        self.connected = 0

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request
        self.queries.append(parse_qs(urlsplit(socket.request.path).query))
        self.headers.append(socket.request.headers.get("Authorization"))
        self.connected += 1
        wire = KyutaiProtocol()
        await socket.send(wire.metadata({"type": "ready", "resume": f"token-{len(self.queries)}"}))
        await socket.send(wire.handshake())
        try:
            async for message in socket:
                for event in wire.receive(message):
                    if isinstance(event, AudioReceived):
                        for answer in wire.audio(event.packets):
                            await socket.send(answer)
        finally:
            self.connected -= 1
            self.forms.append(wire.form)


@asynccontextmanager
async def serving(echo: RecordingEcho) -> AsyncIterator[str]:
    async with serve(echo, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"ws://{host}:{port}/api/chat?events=1"


async def test_each_caller_makes_one_call_in_its_own_form_and_with_the_headers() -> None:
    echo = RecordingEcho()
    async with serving(echo) as url:
        forms = (AudioForm.OGG, AudioForm.RAW)
        headers = {"Authorization": "Bearer secret"}
        pool = CallerPool(Workload(url, SHORT, [SPEECH], forms, is_single=True, headers=headers))
        pool.resize(range(4))
        await until(lambda: not pool.callers)
    records = [record for _, record in pool.take()]
    assert sorted(record.caller for record in records) == [0, 1, 2, 3]
    assert all(record.failure is None and len(record.sent_at) == 2 for record in records)
    assert sorted(form.value for form in echo.forms if form) == ["ogg", "ogg", "raw", "raw"]
    assert echo.headers == ["Bearer secret"] * 4
    assert pool.take() == []


async def test_resize_starts_and_stops_callers_without_failures() -> None:
    echo, log = RecordingEcho(), CallLog()
    async with serving(echo) as url:
        pool = CallerPool(Workload(url, LONG, [SPEECH]))
        pool.resize([0, 2])
        await until(lambda: log.add(pool.take()) or not log.unsettled(1))
        pool.resize([0, 2, 4])
        await until(lambda: pool.callers == 3)
        pool.resize([0])
        await until(lambda: pool.callers == 1)
        pool.resize([])
        await until(lambda: not pool.callers)
        assert echo.connected == 0
    log.add(pool.take())
    assert [call.failure for call in log.calls] == [None] * len(log.calls)
    assert all(call.ended_at for call in log.calls)


async def test_callers_call_again_after_their_think_time() -> None:
    echo = RecordingEcho()
    async with serving(echo) as url:
        pool = CallerPool(Workload(url, SHORT, [SPEECH], think_time=DurationMix(((0.01, 0.02),))))
        pool.resize([3])
        await until(lambda: len(echo.queries) >= 3)
        pool.resize([])
        await until(lambda: not pool.callers)
    assert {record.caller for _, record in pool.take()} == {3}


async def test_a_refused_caller_waits_before_it_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_pool, "MIN_RETRY_DELAY_S", 0.2)
    pool = CallerPool(Workload("ws://127.0.0.1:9/api/chat", SHORT, [SPEECH]))
    pool.resize([0])
    await asyncio.sleep(0.5)
    pool.resize([])
    await until(lambda: not pool.callers)
    assert 1 <= len(pool.take()) <= 4


async def test_a_caller_that_reconnects_resumes_its_conversation() -> None:
    echo, log = RecordingEcho(), CallLog()
    async with serving(echo) as url:
        workload = Workload(url, DurationMix(((4, 4),)), [SPEECH], faults=FaultRates(reconnect=60), is_single=True)
        pool = CallerPool(workload)
        pool.resize([0])
        await until(lambda: not pool.callers)
    log.add(pool.take())
    first, *others = log.calls
    assert first.was_disconnected and not first.is_resumed and first.has_faults
    assert others
    assert all(call.is_resumed for call in others)
    assert all(call.failure is None for call in log.calls)
    figures = summary(log.calls)
    assert figures["resumed"] == len(others)
    assert figures["disconnects"] - figures["resumed"] in (0, 1)  # the last disconnect may come after the last frame
    tokens = [query.get("resume", [""])[0] for query in echo.queries]
    assert tokens == ["", *(f"token-{n}" for n in range(1, len(log.calls)))]
    assert all(query["events"] == ["1"] for query in echo.queries)


async def test_the_parts_of_a_call_are_joined_in_the_log() -> None:
    log = CallLog()
    async with serving(RecordingEcho()) as url:
        pool = CallerPool(Workload(url, DurationMix(((0.8, 0.8),)), [SPEECH], is_single=True))
        pool.resize([0])
        parts = 0
        while pool.callers:
            await asyncio.sleep(0.1)
            new = pool.take()
            parts += len(new)
            log.add(new)
    (call,) = log.calls
    assert parts > 5
    assert len(call.sent_at) == len(call.received_at) == len(call.late_by_s) == 10
    assert list(call.sent_at) == sorted(call.sent_at)
    assert call.ended_at is not None
