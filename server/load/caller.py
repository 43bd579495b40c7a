"""One caller of the load tester: dials, speaks at the pace of speech, and writes down when what happened.

Knows the socket and the clock. What the times mean is worked out in `figures.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.audio.packet import packet_samples
from server.wire.kyutai import (
    AudioForm,
    AudioReceived,
    ErrorReceived,
    HandshakeReceived,
    KyutaiProtocol,
    ProtocolError,
    TextReceived,
)

GREETING_WITHIN_S = 30.0
HANGS_UP_AFTER_S = 2.0  # after the last frame was sent, whatever still comes
QUIET_S = 0.25  # without a frame: no more are coming
LEAST_INTERVAL = 0.75  # of the usual one: a caller who is late does not catch up in a burst


@dataclass
class CallRecord:
    """What one caller saw. Times are monotonic seconds."""

    greeted_after_s: float | None = None  # None: was never greeted
    failure: str | None = None
    sent_at: list[float] = field(default_factory=list)  # [i]: the last packet of input frame i left
    late_by_s: list[float] = field(default_factory=list)  # our own lateness, each time we sent
    heard_at: list[float] = field(default_factory=list)  # [j]: output frame j was complete
    text_pieces: int = 0


class Caller:
    """One call. `talk` makes it, `record` is what came of it."""

    def __init__(self, url: str, form: AudioForm, speech: Sequence[list[bytes]], frames: int) -> None:
        """`speech`: packets by frame, to go round in until `frames` are sent."""
        self.record = CallRecord()
        self._url = url
        self._speech = speech
        self._frames = frames
        self._protocol = KyutaiProtocol(form)
        # As Kyutai's client and as our page do: a page every 80 ms, or a packet every 20 ms.
        self._packets_per_send = len(speech[0]) if form is AudioForm.OGG else 1
        self._greeted = asyncio.Event()
        self._heard_samples = 0
        self._last_words: str | None = None  # the server's, on why it hangs up

    async def talk(self, on_sent: Callable[[], object]) -> None:
        """Make the call; `on_sent` is called for each frame. Whatever goes wrong becomes `record.failure`."""
        dialled_at = time.perf_counter()
        try:
            async with connect(
                self._url, compression=None, proxy=None, ping_interval=None, close_timeout=HANGS_UP_AFTER_S
            ) as socket:
                speaking = asyncio.create_task(self._speak(socket, on_sent))
                try:
                    await self._listen(socket, dialled_at)
                finally:
                    speaking.cancel()
        except (OSError, WebSocketException, ProtocolError) as error:
            self._fail(self._last_words or _reason(error))
        if len(self.record.sent_at) < self._frames:
            self._fail(self._last_words or "the server hung up before the end")
        elif not self.record.heard_at:
            self._fail("no audio came back")

    def _fail(self, reason: str) -> None:
        self.record.failure = self.record.failure or reason

    async def _listen(self, socket: ClientConnection, dialled_at: float) -> None:
        record = self.record
        async for message in socket:
            now = time.perf_counter()
            for event in self._protocol.receive(message):
                match event:
                    case HandshakeReceived() if record.greeted_after_s is None:
                        record.greeted_after_s = now - dialled_at
                        self._greeted.set()
                    case AudioReceived(packets):
                        self._heard_samples += sum(map(packet_samples, packets))
                        complete = self._heard_samples // FRAME_SAMPLES - len(record.heard_at)
                        record.heard_at += [now] * complete
                    case TextReceived():
                        record.text_pieces += 1
                    case ErrorReceived(sentence):
                        self._last_words = sentence
                    case _:
                        pass

    async def _speak(self, socket: ClientConnection, on_sent: Callable[[], object]) -> None:
        try:
            await asyncio.wait_for(self._greeted.wait(), GREETING_WITHIN_S)
        except TimeoutError:
            self._fail(f"no greeting within {GREETING_WITHIN_S:.0f} s")
        else:
            with contextlib.suppress(ConnectionClosed):  # whoever listens learns why
                await self._send_speech(socket, on_sent)
                await self._hear_the_rest()
        await socket.close()

    async def _send_speech(self, socket: ClientConnection, on_sent: Callable[[], object]) -> None:
        record, step = self.record, self._packets_per_send
        interval_s = FRAME_S * step / len(self._speech[0])
        due = time.perf_counter() + interval_s
        for i in range(self._frames):
            packets = self._speech[i % len(self._speech)]
            for first in range(0, len(packets), step):
                await asyncio.sleep(due - time.perf_counter())
                now = time.perf_counter()
                record.late_by_s.append(now - due)
                due = max(due + interval_s, now + LEAST_INTERVAL * interval_s)
                if first + step >= len(packets):
                    record.sent_at.append(now)
                for message in self._protocol.audio(packets[first : first + step]):
                    await socket.send(message)
            on_sent()

    async def _hear_the_rest(self) -> None:
        ended_at = time.perf_counter()
        while (now := time.perf_counter()) < ended_at + HANGS_UP_AFTER_S:
            if now - max([ended_at, *self.record.heard_at[-1:]]) > QUIET_S:
                return
            await asyncio.sleep(QUIET_S / 5)


def _reason(error: Exception) -> str:
    """Why a call failed, in a few words that are the same for all calls that failed so."""
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}: {_told(error.response.body)}"
    if isinstance(error, ConnectionClosed):
        return f"closed with {error.rcvd.code} {error.rcvd.reason}" if error.rcvd else "the connection broke"
    if isinstance(error, TimeoutError):
        return "no answer to the call"
    if isinstance(error, ProtocolError):
        return f"the server broke the protocol: {error.reason}"
    return f"cannot connect: {error}"


def _told(body: bytes | bytearray | None) -> str:
    """The sentence in a refusal's JSON, or the beginning of what is there instead."""
    try:
        return str(json.loads(body or b"")["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return (body or b"no reason given")[:80].decode("utf-8", "replace").strip()
