"""The dialect seam: a dialect of the tests works once it is registered in one line."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.audio.opus import OpusDecoder, OpusEncoder
from server.dialects import registry
from tests.server.chat_client import open_chat, speech
from tests.server.conftest import RunningServer, Serve
from tests.server.dialects.toy_dialect import ToyDialect

FRAMES = 6

pytestmark = pytest.mark.usefixtures("unpaced_engine")


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "DIALECTS", (*registry.DIALECTS, ToyDialect))


def toy(served: RunningServer) -> connect:
    return connect(f"ws://127.0.0.1:{served.port}/toy", compression=None, proxy=None)


async def next_message(socket: ClientConnection, key: str) -> dict[str, Any]:
    """The next message that has `key`."""
    while key not in (message := json.loads(await socket.recv())):
        pass
    return message


async def test_toy_dialect_call_receives_the_audio_of_a_kyutai_call(serve: Serve):
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        expected = []
        for frame in speech(FRAMES):
            await client.send_frame(frame)
            expected.append(await client.receive_frame())
    encoder, decoder, received = OpusEncoder(), OpusDecoder(), []
    async with toy(served) as socket:
        assert (await next_message(socket, "event"))["event"] == "Ready"
        for frame in speech(FRAMES):
            packets = [b64encode(packet).decode() for packet in encoder.encode(frame)]
            await socket.send(json.dumps({"audio": packets}))
            packets = (await next_message(socket, "audio"))["audio"]
            received.append(np.concatenate([decoder.decode(b64decode(packet)) for packet in packets]))
    np.testing.assert_array_equal(received, expected)


async def test_toy_dialect_client_is_warned_of_a_message_that_is_ignored(serve: Serve):
    served = await serve()
    async with toy(served) as socket:
        await next_message(socket, "event")
        await socket.send("{}")
        assert await next_message(socket, "sentence") == {
            "event": "Warned",
            "sentence": "A message was ignored: it has no audio.",
        }


async def test_toy_dialect_protocol_error_closes_with_its_sentence(serve: Serve):
    served = await serve()
    async with toy(served) as socket:
        await next_message(socket, "event")
        await socket.send(b"\0")
        ended = await next_message(socket, "reason")
        assert (ended["event"], ended["reason"], ended["is_fault"]) == ("Ended", "protocol", True)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd and closed.value.rcvd.code == 1008


async def test_toy_dialect_is_refused_in_its_own_way_by_a_full_server(serve: Serve):
    served = await serve(slots=1)
    async with open_chat(served.chat) as client:
        await client.handshake()
        with pytest.raises(InvalidStatus) as refused:
            async with toy(served):
                pass
    assert refused.value.response.status_code == 503
