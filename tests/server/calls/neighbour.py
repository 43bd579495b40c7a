"""A call that runs beside the one under test: whatever the other client does, its audio stays equal bit for bit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.audio.framing import FrameAssembler, Pcm
from server.audio.opus import OpusDecoder, OpusEncoder
from server.dialects.kyutai_protocol import AudioForm, AudioReceived, KyutaiProtocol
from tests.server.chat_client import ChatClient, open_chat, speech, wait_until
from tests.server.conftest import RunningServer


def expected_echo(frames: list[Pcm], form: AudioForm) -> list[bytes]:
    """The audio messages in which the echo model answers `frames`, computed without a server."""
    client, server = KyutaiProtocol(form), KyutaiProtocol()
    client_encoder, decoder, assembler, server_encoder = OpusEncoder(), OpusDecoder(), FrameAssembler(), OpusEncoder()
    messages: list[bytes] = []
    for frame in frames:
        for message in client.audio(client_encoder.encode(frame)):
            for event in server.receive(message):
                assert isinstance(event, AudioReceived)
                for packet in event.packets:
                    for received in assembler.push(decoder.decode(packet)):
                        messages += server.audio(server_encoder.encode(received))
    return messages


@asynccontextmanager
async def unaffected_neighbour(served: RunningServer) -> AsyncIterator[None]:
    """Hold a second call while the block runs; afterwards assert that it received exactly `expected_echo`."""
    frames: list[Pcm] = speech(50)
    sent: list[Pcm] = []

    async def talk(client: ChatClient) -> None:
        while True:
            sent.append(frames[len(sent) % len(frames)])
            await client.send_frame(sent[-1])
            await client.receive_frame()
            await asyncio.sleep(0.01)

    async with open_chat(served.chat) as client:
        await client.handshake()
        talking = asyncio.create_task(talk(client))
        await wait_until(lambda: len(sent) > 3)
        yield
        before = len(sent)
        await wait_until(lambda: len(sent) > before + 3 or talking.done())
        talking.cancel()
        assert len(client.audio_messages) >= before
        assert client.audio_messages == expected_echo(sent, AudioForm.OGG)[: len(client.audio_messages)]
        assert not client.errors
