"""The rate limit of received bytes and messages."""

from __future__ import annotations

from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from server.dialects.kyutai_protocol import AudioForm
from server.errors import RateLimited
from server.transport.rate_limit import BURST_S, MESSAGE_BYTES, SOUND_S_PER_S, RateLimiter
from tests.fakes import FakeClock
from tests.server.chat_client import open_chat
from tests.server.conftest import Serve


def test_live_audio_at_the_highest_rate_is_never_limited():
    clock = FakeClock()
    limiter = RateLimiter(128_000, clock)
    for _ in range(3):
        for _ in range(60 * 400):  # the shortest Opus packets, at the highest bitrate
            clock.advance(0.0025)
            limiter.spend(1, 160, 0.0025)
        clock.advance(20)
        for _ in range(20 * 50):  # what a network outage of 20 s held back
            limiter.spend(1, 320, 0.02)


def test_sound_in_few_bytes_is_limited_after_the_burst():
    clock = FakeClock()
    limiter = RateLimiter(128_000, clock)
    for _ in range(round(BURST_S * SOUND_S_PER_S / 0.125)):
        limiter.spend(0, 26, 0.125)
    with pytest.raises(RateLimited):
        limiter.spend(0, 26, 0.125)


@pytest.mark.parametrize("size_bytes", [0, 100_000])
def test_flood_is_limited_after_the_burst(size_bytes: int):
    clock = FakeClock()
    limiter = RateLimiter(128_000, clock)
    for _ in range(int(BURST_S * 128_000 / (size_bytes + MESSAGE_BYTES))):
        limiter.spend(1, size_bytes)
    with pytest.raises(RateLimited):
        limiter.spend(1, size_bytes)


@pytest.mark.usefixtures("unpaced_engine")
@pytest.mark.parametrize("message", [b"", b"\1\xf8\xff\xfe", b"\4" + b"x" * 10_000], ids=["empty", "audio", "large"])
async def test_call_of_a_flooding_client_ends_with_1008(serve: Serve, message: bytes):
    served = await serve(max_bytes_per_s=10_000)
    async with open_chat(served.chat + "?events=1", AudioForm.RAW) as client:
        await client.handshake()
        with suppress(ConnectionClosed):
            for _ in range(2000):
                await client.socket.send(message)
        assert (await client.wait_closed())[0] == 1008
        assert client.events[-1] == {"type": "end", "reason": "flood"}
        assert "Rate limit" in client.errors[-1]
