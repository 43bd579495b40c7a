"""The socket that reads on, over a transport that only notes whether it is read."""

from __future__ import annotations

from types import SimpleNamespace

import uvicorn
from uvicorn.server import ServerState

from server.doors.websocket import _MOST_WAITING, ReadingOn


class Transport:
    """Stops and begins to read, never twice."""

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
    socket, transport = ReadingOn(config, ServerState(), {}), Transport()
    socket.transport = transport  # type: ignore[assignment]

    def come(messages: int) -> None:
        for number in range(messages):
            socket.handle_bytes(SimpleNamespace(data=bytes([number]), fin=True))  # type: ignore[arg-type]

    come(_MOST_WAITING)
    assert transport.is_reading
    come(3)
    assert not transport.is_reading
    taken = [await socket.receive() for _ in range(_MOST_WAITING + 2)]
    assert not transport.is_reading, "one still waits"
    taken.append(await socket.receive())
    assert transport.is_reading
    assert [message["bytes"][0] for message in taken] == [*range(_MOST_WAITING), 0, 1, 2]  # type: ignore[index]
    come(1)
    assert transport.is_reading
