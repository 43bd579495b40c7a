"""A client of the tests: dials a real server over a real socket and speaks Kyutai's protocol, well or badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server.audio.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ, FrameAssembler, Pcm
from server.audio.opus import OpusDecoder, OpusEncoder
from server.dialects.kyutai_protocol import (
    AudioForm,
    AudioReceived,
    ErrorReceived,
    KyutaiProtocol,
    MetadataReceived,
    TextReceived,
)
from server.transport.http import READ_BYTES

PATIENCE_S = 30.0  # how long anything may take on a slow and busy machine


def speech(frames: int) -> list[Pcm]:
    """Frames f32 [1920] of something that is different in each of them."""
    t = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    sound = 0.4 * np.sin(2 * np.pi * (150 + 40 * np.sin(3 * t)) * t) * (0.6 + 0.4 * np.sin(11 * t))
    return list(sound.astype(np.float32).reshape(frames, FRAME_SAMPLES))


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110, what is waited for has no event of its own
            await asyncio.sleep(0.002)


class Phone:
    """One call."""

    def __init__(self, socket: ClientConnection, form: AudioForm) -> None:
        self.socket = socket
        self.wire = KyutaiProtocol(form)
        self.texts: list[str] = []
        self.errors: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.audio_messages: list[bytes] = []
        self._encoder = OpusEncoder()
        self._decoder = OpusDecoder()
        self._assembler = FrameAssembler()
        self._heard: list[Pcm] = []

    async def greeting(self) -> None:
        """Wait for the handshake; events that come before are kept."""
        while (message := await self._receive()) != b"\0":
            self._note(message)

    async def say(self, frame: Pcm) -> None:
        for message in self.wire.audio(self._encoder.encode(frame)):
            await self.socket.send(message)

    async def hear(self) -> Pcm:
        """The next whole frame of the other side."""
        async with asyncio.timeout(PATIENCE_S):  # pings come for ever
            while not self._heard:
                self._note(await self._receive())
        return self._heard.pop(0)

    async def event(self, kind: str) -> dict[str, Any]:
        """The next event of `kind` that was not waited for yet."""
        while not (found := [event for event in self.events if event["type"] == kind]):
            self._note(await self._receive())
        self.events.remove(found[0])
        return found[0]

    async def error(self) -> str:
        """The next sentence of kind 5."""
        while not self.errors:
            self._note(await self._receive())
        return self.errors.pop(0)

    async def end(self) -> tuple[int, str]:
        """Wait for the other side to close: its code and reason."""
        try:
            while True:
                self._note(await self._receive())
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return closed.rcvd.code, closed.rcvd.reason

    def vanish(self) -> None:
        """Go without a word, as a phone in a tunnel does."""
        self.socket.transport.abort()

    async def _receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            message = await self.socket.recv()
        assert isinstance(message, bytes)
        return message

    def _note(self, message: bytes) -> None:
        if message[:1] == b"\1":
            self.audio_messages.append(message)
        for event in self.wire.receive(message):
            match event:
                case AudioReceived(packets):
                    for packet in packets:
                        self._heard += self._assembler.push(self._decoder.decode(packet))
                case TextReceived(piece):
                    self.texts.append(piece)
                case ErrorReceived(sentence):
                    self.errors.append(sentence)
                case MetadataReceived(data):
                    self.events.append(data)
                case _:
                    pass


@asynccontextmanager
async def dial(url: str, form: AudioForm = AudioForm.OGG, **connect_options: Any) -> AsyncIterator[Phone]:
    """A call to `url`, hung up when the block is left. Raises InvalidStatus when it is refused."""
    options = {"compression": None, "proxy": None, "open_timeout": PATIENCE_S, "close_timeout": 1.0}
    async with connect(url, **{**options, **connect_options}) as socket:
        socket.transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # or this process grows by its phones
        yield Phone(socket, form)
