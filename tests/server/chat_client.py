"""The test client: connects to a real server over a real socket and speaks Kyutai's protocol, correctly or not."""

from __future__ import annotations

import asyncio
import socket
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

TIMEOUT_S = 30.0  # limit of every wait, long enough for a slow and busy machine


def speech(frames: int) -> list[Pcm]:
    """Speech-like frames, f32 [1920] each, no two of which are equal."""
    t = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    sound = 0.4 * np.sin(2 * np.pi * (150 + 40 * np.sin(3 * t)) * t) * (0.6 + 0.4 * np.sin(11 * t))
    return list(sound.astype(np.float32).reshape(frames, FRAME_SAMPLES))


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` is true. Raises TimeoutError after `TIMEOUT_S`."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110, the condition has no event to wait for
            await asyncio.sleep(0.002)


async def connect_with_small_buffer(port: int) -> socket.socket:
    """A TCP connection to this machine with a 4 KB receive buffer, which is full soon after its owner stops reading."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(made.connect, ("127.0.0.1", port))
    return made


class ChatClient:
    """The client side of one call. Every wait raises TimeoutError after `TIMEOUT_S`."""

    def __init__(self, connection: ClientConnection, form: AudioForm) -> None:
        self.socket = connection
        self.wire = KyutaiProtocol(form)
        self.texts: list[str] = []
        self.errors: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.audio_messages: list[bytes] = []
        self._encoder = OpusEncoder()
        self._decoder = OpusDecoder()
        self._assembler = FrameAssembler()
        self._received: list[Pcm] = []

    async def handshake(self) -> None:
        """Wait for the handshake. Events that arrive before it are kept."""
        while (message := await self._receive()) != b"\0":
            self._note(message)

    async def send_frame(self, frame: Pcm) -> None:
        """Encode and send `frame`, f32 [1920]."""
        for message in self.wire.audio(self._encoder.encode(frame)):
            await self.socket.send(message)

    async def receive_frame(self) -> Pcm:
        """Wait for the next whole frame of the reply, f32 [1920]."""
        async with asyncio.timeout(TIMEOUT_S):  # every message restarts the other limit, and pings never stop
            while not self._received:
                self._note(await self._receive())
        return self._received.pop(0)

    async def event(self, kind: str) -> dict[str, Any]:
        """Wait for the next event of type `kind`. Each event is returned once."""
        while not (found := [event for event in self.events if event["type"] == kind]):
            self._note(await self._receive())
        self.events.remove(found[0])
        return found[0]

    async def error(self) -> str:
        """Wait for the next error message (kind 5)."""
        while not self.errors:
            self._note(await self._receive())
        return self.errors.pop(0)

    async def wait_closed(self) -> tuple[int, str]:
        """Wait until the server closes the socket; return its close code and reason."""
        try:
            while True:
                self._note(await self._receive())
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return closed.rcvd.code, closed.rcvd.reason

    def abort(self) -> None:
        """Drop the connection without a close frame, as a lost network does."""
        self.socket.transport.abort()

    async def _receive(self) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
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
                        self._received += self._assembler.push(self._decoder.decode(packet))
                case TextReceived(piece):
                    self.texts.append(piece)
                case ErrorReceived(text):
                    self.errors.append(text)
                case MetadataReceived(data):
                    self.events.append(data)
                case _:
                    pass


@asynccontextmanager
async def open_chat(url: str, form: AudioForm = AudioForm.OGG, **connect_options: Any) -> AsyncIterator[ChatClient]:
    """Open a call to `url` and close it when the block is left. Raises InvalidStatus when it is refused over HTTP."""
    options = {"compression": None, "proxy": None, "open_timeout": TIMEOUT_S, "close_timeout": 1.0}
    async with connect(url, **{**options, **connect_options}) as connection:
        connection.transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # otherwise asyncio's read buffer grows with every client
        yield ChatClient(connection, form)
