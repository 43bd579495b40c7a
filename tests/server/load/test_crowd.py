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
from server.load import crowd as crowd_module
from server.load.crowd import Crowd, Habits, Mix
from server.load.figures import summary
from server.load.ledger import Ledger
from server.load.troubles import Faults
from tests.server.load.records import until

SPEECH = [[bytes([0x68, frame, packet]) * 20 for packet in range(4)] for frame in range(25)]
SHORT = Mix(((2 * FRAME_S, 2 * FRAME_S),))
LONG = Mix(((600, 600),))


class Echo:
    """A server that writes down who came, and how."""

    def __init__(self) -> None:
        self.queries: list[dict[str, list[str]]] = []
        self.forms: list[AudioForm | None] = []
        self.headers: list[str | None] = []
        self.here = 0

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request
        self.queries.append(parse_qs(urlsplit(socket.request.path).query))
        self.headers.append(socket.request.headers.get("Authorization"))
        self.here += 1
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
            self.here -= 1
            self.forms.append(wire.form)


@asynccontextmanager
async def serving(echo: Echo) -> AsyncIterator[str]:
    async with serve(echo, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"ws://{host}:{port}/api/chat?events=1"


async def test_each_makes_one_call_in_its_own_form_with_its_own_words() -> None:
    echo = Echo()
    async with serving(echo) as url:
        forms = (AudioForm.OGG, AudioForm.RAW)
        headers = {"Authorization": "Bearer secret"}
        crowd = Crowd(Habits(url, SHORT, [SPEECH], forms, is_once=True, headers=headers))
        crowd.resize(range(4))
        await until(lambda: not crowd.callers)
    records = [record for _, record in crowd.take()]
    assert sorted(record.caller for record in records) == [0, 1, 2, 3]
    assert all(record.failure is None and len(record.sent_at) == 2 for record in records)
    assert sorted(form.value for form in echo.forms if form) == ["ogg", "ogg", "raw", "raw"]
    assert echo.headers == ["Bearer secret"] * 4
    assert crowd.take() == []


async def test_callers_come_and_go_and_none_of_them_fails() -> None:
    echo, ledger = Echo(), Ledger()
    async with serving(echo) as url:
        crowd = Crowd(Habits(url, LONG, [SPEECH]))
        crowd.resize([0, 2])
        await until(lambda: ledger.add(crowd.take()) or not ledger.awaited(1))
        crowd.resize([0, 2, 4])
        await until(lambda: crowd.callers == 3)
        crowd.resize([0])
        await until(lambda: crowd.callers == 1)
        crowd.resize([])
        await until(lambda: not crowd.callers)
        assert echo.here == 0
    ledger.add(crowd.take())
    assert [call.failure for call in ledger.calls] == [None] * len(ledger.calls)
    assert all(call.over_at for call in ledger.calls)


async def test_callers_call_again_after_a_while() -> None:
    echo = Echo()
    async with serving(echo) as url:
        crowd = Crowd(Habits(url, SHORT, [SPEECH], think=Mix(((0.01, 0.02),))))
        crowd.resize([3])
        await until(lambda: len(echo.queries) >= 3)
        crowd.resize([])
        await until(lambda: not crowd.callers)
    assert {record.caller for _, record in crowd.take()} == {3}


async def test_who_is_turned_away_does_not_dial_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "REDIALS_AFTER_S", 0.2)
    crowd = Crowd(Habits("ws://127.0.0.1:9/api/chat", SHORT, [SPEECH]))
    crowd.resize([0])
    await asyncio.sleep(0.5)
    crowd.resize([])
    await until(lambda: not crowd.callers)
    assert 1 <= len(crowd.take()) <= 4


async def test_who_reconnects_goes_on_with_the_conversation_where_that_is_offered() -> None:
    echo, ledger = Echo(), Ledger()
    async with serving(echo) as url:
        habits = Habits(url, Mix(((4, 4),)), [SPEECH], faults=Faults(reconnect=60), is_once=True)
        crowd = Crowd(habits)
        crowd.resize([0])
        await until(lambda: not crowd.callers)
    ledger.add(crowd.take())
    first, *others = ledger.calls
    assert first.was_cut and not first.is_resumed and first.is_troubled
    assert others
    assert all(call.is_resumed for call in others)
    assert all(call.failure is None for call in ledger.calls)
    figures = summary(ledger.calls)
    assert figures["resumed"] == len(others)
    assert figures["lines_cut"] - figures["resumed"] in (0, 1)  # the last one may be cut when all is said
    tokens = [query.get("resume", [""])[0] for query in echo.queries]
    assert tokens == ["", *(f"token-{n}" for n in range(1, len(ledger.calls)))]
    assert all(query["events"] == ["1"] for query in echo.queries)


async def test_a_call_comes_in_pieces_and_is_put_together() -> None:
    ledger = Ledger()
    async with serving(Echo()) as url:
        crowd = Crowd(Habits(url, Mix(((0.8, 0.8),)), [SPEECH], is_once=True))
        crowd.resize([0])
        pieces = 0
        while crowd.callers:
            await asyncio.sleep(0.1)
            news = crowd.take()
            pieces += len(news)
            ledger.add(news)
    (call,) = ledger.calls
    assert pieces > 5
    assert len(call.sent_at) == len(call.heard_at) == len(call.late_by_s) == 10
    assert list(call.sent_at) == sorted(call.sent_at)
    assert call.over_at is not None
