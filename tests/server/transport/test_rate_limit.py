from __future__ import annotations

from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from server.dialects.kyutai_protocol import AudioForm
from server.errors import RateLimited
from server.transport.rate_limit import BURST_S, MESSAGE_BYTES, RateLimiter
from tests.server.chat_client import open_chat
from tests.server.conftest import Serve


class SetClock:
    """Stands still but for who sets it."""

    s = 0.0

    def now(self) -> float:
        return self.s


def test_a_voice_may_go_on_for_ever_and_catch_up():
    clock = SetClock()
    pace = RateLimiter(128_000, clock)
    for _ in range(3):
        for _ in range(60 * 400):  # the shortest packets that Opus knows, at its highest rate
            clock.s += 0.0025
            pace.spend(1, 160)
        clock.s += 20
        for _ in range(20 * 50):  # all that an outage held back
            pace.spend(1, 320)


@pytest.mark.parametrize("size_bytes", [0, 100_000])
def test_a_flood_is_none(size_bytes: int):
    clock = SetClock()
    pace = RateLimiter(128_000, clock)
    for _ in range(int(BURST_S * 128_000 / (size_bytes + MESSAGE_BYTES))):
        pace.spend(1, size_bytes)
    with pytest.raises(RateLimited):
        pace.spend(1, size_bytes)


@pytest.mark.usefixtures("unpaced_engine")
@pytest.mark.parametrize("message", [b"", b"\1\xf8\xff\xfe", b"\4" + b"x" * 10_000], ids=["empty", "audio", "large"])
async def test_who_floods_is_hung_up_on(serve: Serve, message: bytes):
    served = await serve(max_bytes_per_s=10_000)
    async with open_chat(served.chat + "?events=1", AudioForm.RAW) as client:
        await client.handshake()
        with suppress(ConnectionClosed):
            for _ in range(2000):
                await client.socket.send(message)
        assert (await client.wait_closed())[0] == 1008
        assert client.events[-1] == {"type": "end", "reason": "flood"}
        assert "any voice" in client.errors[-1]
