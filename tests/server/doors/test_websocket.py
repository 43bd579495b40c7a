"""The socket that reads on, and what its peer can send without ever sending a message."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.doors.websocket import _READS_ON_UNTIL, BoundedWebSocket
from tests.server.conftest import Serve
from tests.server.phone import dial, speech
from tests.server.test_bad_input import undisturbed_neighbour

# Whole frames of a client, RFC 6455 §5.2: final or not and its kind; masked, of no bytes; the mask.
PING, PONG = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"
BEGINNING, CONTINUATION = b"\x02\x80\0\0\0\0", b"\x00\x80\0\0\0\0"
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
    socket, transport = BoundedWebSocket(config, ServerState(), {}), Transport()
    socket.transport = transport  # type: ignore[assignment]

    def come(messages: int) -> None:
        for number in range(messages):
            socket.handle_bytes(SimpleNamespace(data=bytes([number]), fin=True))  # type: ignore[arg-type]

    come(_READS_ON_UNTIL)
    assert transport.is_reading
    come(3)
    assert not transport.is_reading
    taken = [await socket.receive() for _ in range(_READS_ON_UNTIL + 2)]
    assert not transport.is_reading, "one still waits"
    taken.append(await socket.receive())
    assert transport.is_reading
    assert [message["bytes"][0] for message in taken] == [*range(_READS_ON_UNTIL), 0, 1, 2]  # type: ignore[index]
    come(1)
    assert transport.is_reading


@pytest.mark.usefixtures("patient_engine")
@pytest.mark.parametrize(
    "flood",
    [PING * TEN_THOUSAND, PONG * TEN_THOUSAND, BEGINNING + CONTINUATION * TEN_THOUSAND, b"\x82\x80\0\0\0\0" * 40_000],
    ids=["pings", "pongs", "fragments", "empty messages"],
)
async def test_who_sends_frames_without_end_is_hung_up_on(serve: Serve, flood: bytes):
    served = await serve(slots=2)
    async with undisturbed_neighbour(served), dial(served.chat) as phone:
        await phone.greeting()
        phone.socket.transport.write(flood)
        code, reason = await phone.end()
        assert code == 1008 and reason == "More came than any voice needs, so the call ends."
    assert served.reception.metrics.counts["sent_bytes"] < 100_000


@pytest.mark.usefixtures("patient_engine")
async def test_a_message_in_parts_is_one_and_a_ping_is_answered(serve: Serve):
    served = await serve()
    async with dial(served.chat) as phone:
        await phone.greeting()
        for number in range(20):
            for message in phone.wire.audio(phone._encoder.encode(speech(1)[0])):
                await phone.socket.send([message[at : at + 20] for at in range(0, len(message), 20)])
            await phone.hear()
            await (await phone.socket.ping(str(number)))
