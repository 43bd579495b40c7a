"""The reference's own codec and framing, as `moshi.client` uses them, through a real server."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import sphn
from websockets.asyncio.client import ClientConnection, connect

from server.audio.framing import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.load.speech import synthetic_speech
from tests.e2e.conftest import StartServer

FRAMES = 50
CODEC_DELAY_SAMPLES = 2_000  # at most: two encoders, and sphn's packets of 40 ms
HEARD_WITHIN_S = 30


def best_correlation(sent: Pcm, heard: Pcm) -> float:
    """Of the two signals where they fit best: `heard` begins up to CODEC_DELAY_SAMPLES later."""
    span = min(len(sent), len(heard)) - CODEC_DELAY_SAMPLES
    lags = range(0, CODEC_DELAY_SAMPLES, 4)
    lag = max(lags, key=lambda at: float(sent[:span] @ heard[at : at + span]))
    near = range(max(lag - 4, 0), lag + 5)
    return max(float(np.corrcoef(sent[:span], heard[at : at + span])[0, 1]) for at in near)


async def speak(socket: ClientConnection, pcm: Pcm) -> None:
    """Send 1,920 samples every 80 ms, as the reference's client does."""
    writer = sphn.OpusStreamWriter(SAMPLE_RATE_HZ)
    for frame in pcm.reshape(-1, FRAME_SAMPLES):
        if pages := writer.append_pcm(frame):
            await socket.send(b"\x01" + pages)
        await asyncio.sleep(FRAME_S)


async def listen(socket: ClientConnection, samples: int) -> list[Pcm]:
    """What every audio message decodes to, until `samples` are there."""
    reader = sphn.OpusStreamReader(SAMPLE_RATE_HZ)
    heard: list[Pcm] = []
    while sum(map(len, heard)) < samples:
        message = await socket.recv()
        assert isinstance(message, bytes)
        assert message[0] in (1, 6), message[:80]
        if message[0] == 1:
            heard.append(np.asarray(reader.append_bytes(message[1:])))
    return heard


@pytest.mark.asyncio(loop_scope="session")
async def test_the_references_codec_hears_itself_through_the_echo(serve: StartServer) -> None:
    served = await serve("--model", "echo")
    pcm = synthetic_speech()[: FRAMES * FRAME_SAMPLES]
    url = served.url.replace("http", "ws") + "api/chat"
    async with asyncio.timeout(HEARD_WITHIN_S), connect(url, compression=None, proxy=None) as socket:
        greeting = await socket.recv()
        assert greeting == b"\x00"
        # sphn's writer keeps the last packets to itself; everything else must come back.
        speaking = asyncio.create_task(speak(socket, pcm))
        heard = await listen(socket, (FRAMES - 1) * FRAME_SAMPLES)
        await speaking
    assert {len(piece) for piece in heard} == {FRAME_SAMPLES}  # each message one whole frame, at once
    assert best_correlation(pcm, np.concatenate(heard)) > 0.9
