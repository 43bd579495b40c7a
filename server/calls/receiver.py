"""What one client sends: messages off the socket, through dialect and codec, as frames for the session.

Sends nothing: what the client should know is told to the session, and what ends the call is an error of `errors.py`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from starlette.websockets import WebSocket

from server.audio.codecs import CODECS
from server.audio.framing import FRAME_SAMPLES, PACKET_SAMPLES, SAMPLE_RATE_HZ, FrameAssembler, Pcm
from server.audio.packet import UndecodablePacket
from server.clock import Clock
from server.dialects.dialect import Dialect, Message
from server.errors import CallEnded, ClientClosed, ClosedWithoutCode, ConnectionLost, ProtocolError, Undecodable
from server.events import AudioIn, AudioLost, InvalidMessage, Skipped, Warned
from server.metrics import Count
from server.sessions.outbox import Outbox
from server.sessions.session import Session
from server.transport.rate_limit import RateLimiter

WARN_EVERY_S = 1.0
MAX_UNDECODABLE = 50  # packets of 20 ms: one second of sound
_BATCH = 8  # messages read before other tasks get their turn
_BATCH_SAMPLES = 2 * FRAME_SAMPLES  # decoded before they do, in one message or several
_NO_CLOSE_CODE, _NO_CLOSE_FRAME = 1005, 1006  # RFC 6455 §7.4.1
_APPLICATION_CLOSE_CODES = 3000  # and up, RFC 6455 §7.4.2: a client's own, which says nothing of leaving for good


class Receiver:
    """Reads one socket to its end, or to the call's. Audio counts from when the session `is_ready`."""

    def __init__(self, socket: WebSocket, dialect: Dialect, rate_limiter: RateLimiter, clock: Clock) -> None:
        self.is_ready = False
        self._socket = socket
        self._dialect = dialect
        self._clock = clock
        self._rate_limiter = rate_limiter
        self._codec = CODECS[dialect.audio_format]
        self._decoder = self._codec.make_decoder()
        self._assembler = FrameAssembler()
        self._undecodable = 0  # samples at 24 kHz, less half of what was decoded since
        self._samples_in_turn = 0  # decoded since other tasks had their turn
        self._warned_at = float("-inf")

    async def run(self, session: Session, outbox: Outbox) -> None:
        """Read until the client leaves, or breaks a rule: then the session's connection ends."""
        try:
            for number in itertools.count(1):
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise _departure(message["code"])
                payload = message.get("bytes") or message.get("text") or b""
                session.counts[Count.RECEIVED_BYTES] += len(payload)
                if not outbox.ended:
                    self._rate_limiter.spend(1, len(payload))
                    await self._receive(payload, session, outbox)
                if number % _BATCH == 0:  # thousands may have come at once, and `receive` would not wait
                    await asyncio.sleep(0)
        except CallEnded as why:
            session.on_connection_closed(outbox, why.bare())

    async def _receive(self, message: Message, session: Session, outbox: Outbox) -> None:
        try:
            events = self._dialect.decode(message)
        except ProtocolError as error:
            self._report_lost(error.lost_frames, session)
            raise
        for event in events:
            match event:
                case AudioIn(packets) if self.is_ready:
                    session.wire_state = self._dialect.wire_state
                    self._rate_limiter.spend(len(packets) - 1, 0)  # of sound, each is charged before it is decoded
                    await self._decode(packets, session, outbox)
                case AudioIn():
                    pass  # from before the handshake: it would stay as lag
                case AudioLost(frames):
                    self._report_lost(frames, session)
                case InvalidMessage(reason):
                    self._warn(reason, session)

    async def _decode(self, packets: Sequence[bytes], session: Session, outbox: Outbox) -> None:
        frames: list[Pcm] = []
        for packet in packets:
            samples = self._codec.packet_samples(packet) or PACKET_SAMPLES
            await self._take_turns(samples)
            if outbox.ended:  # meanwhile; the session may go on over another socket
                return
            self._rate_limiter.spend(0, 0, samples / SAMPLE_RATE_HZ)
            pcm = self._decode_packet(packet, session)
            frames += self._assembler.push(pcm)
        if not outbox.ended:
            for follows, frame in zip(reversed(range(len(frames))), frames, strict=True):
                session.push_frame(frame, follows)

    async def _take_turns(self, samples: int) -> None:
        """Let other tasks run before more is decoded than a usual message holds."""
        self._samples_in_turn += samples
        if self._samples_in_turn > _BATCH_SAMPLES:
            self._samples_in_turn = samples
            await asyncio.sleep(0)

    def _report_lost(self, frames: int, session: Session) -> None:
        if frames:
            session.counts[Count.PAGES_LOST] += frames
            session.send_event(Skipped(frames))

    def _decode_packet(self, packet: bytes, session: Session) -> Pcm:
        """f32 [n]; concealed if it cannot be decoded. Raises Undecodable after a second of such sound."""
        try:
            pcm = self._decoder.decode(packet)
        except UndecodablePacket as error:
            session.counts[Count.PACKETS_CONCEALED] += 1
            samples = self._codec.packet_samples(packet) or PACKET_SAMPLES
            self._undecodable += samples
            if self._undecodable >= MAX_UNDECODABLE * PACKET_SAMPLES:
                sentence = "More than 1 s of the audio could not be decoded as Opus. The call was ended."
                raise Undecodable(sentence) from error
            return self._decoder.conceal(samples)
        self._undecodable = max(0, self._undecodable - len(pcm) // 2)
        return pcm

    def _warn(self, reason: str, session: Session) -> None:
        session.counts[Count.MESSAGES_INVALID] += 1
        now = self._clock.now()
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            session.send_event(Warned(f"A message was ignored: {reason}."))


def _departure(close_code: int) -> ClientClosed:
    """Whether the client left for good or only lost its connection."""
    if close_code == _NO_CLOSE_CODE:
        return ClosedWithoutCode("The client closed the connection.")
    if close_code == _NO_CLOSE_FRAME or close_code >= _APPLICATION_CLOSE_CODES:
        return ConnectionLost("The connection was lost.")
    return ClientClosed("The client closed the connection.")
