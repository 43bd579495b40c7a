"""What one caller says: messages off the socket, through wire and Opus, as frames for the session.

Sends nothing: what the caller should know is told to the session, and what ends the call is an error of `errors.py`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from starlette.websockets import WebSocket

from server.audio.framing import PACKET_SAMPLES, FrameAssembler
from server.audio.opus import OpusDecodeError, OpusDecoder
from server.audio.packet import packet_samples
from server.clock import Clock
from server.dialects.kyutai_protocol import AudioReceived, KyutaiProtocol, Malformed, ProtocolError
from server.errors import CallEnded, ClientClosed, ConnectionLost, ProtocolViolated, Undecodable
from server.sessions.outbox import Outbox
from server.sessions.session import Session
from server.transport.rate_limit import RateLimiter

COMPLAIN_EVERY_S = 1.0
MAX_UNDECODABLE = 50  # packets in a row: one second that is no Opus
_AT_ONCE = 8  # messages read, or packets of one message decoded, before the loop may turn to others
_NO_CLOSE_CODE = (1005, 1006)  # RFC 6455 §7.4.1; also where there was no close frame at all
_OWN_CLOSE_CODES = 3000  # and up: a client's own, and no goodbye


class Receiver:
    """Reads one socket to its end, or to the call's. Sound counts from when the caller `is_greeted`."""

    def __init__(self, socket: WebSocket, wire: KyutaiProtocol, max_bytes_per_s: int, clock: Clock) -> None:
        self.is_greeted = False
        self._socket = socket
        self._wire = wire
        self._clock = clock
        self._pace = RateLimiter(max_bytes_per_s, clock)
        self._decoder = OpusDecoder()
        self._assembler = FrameAssembler()
        self._lost_pages = 0
        self._undecodable = 0  # packets in a row
        self._complained_at = float("-inf")

    async def run(self, session: Session, outbox: Outbox) -> None:
        """Until the caller leaves, or breaks a rule: then the session hangs up."""
        try:
            for number in itertools.count(1):
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise _departure(message["code"])
                payload = message.get("bytes") or message.get("text") or b""
                session.counts["received_bytes"] += len(payload)
                if not outbox.ended:
                    self._pace.spend(1, len(payload))
                    await self._receive(payload, session, outbox)
                if number % _AT_ONCE == 0:  # thousands may have come at once, and `receive` would not wait
                    await asyncio.sleep(0)
        except CallEnded as why:
            session.hang_up(outbox, why.bare())

    async def _receive(self, message: bytes | str, session: Session, outbox: Outbox) -> None:
        try:
            events = self._wire.receive(message)
        except ProtocolError as error:
            raise ProtocolViolated(error.reason, error.close_code) from error
        finally:
            self._tell_lost_pages(session)
        for event in events:
            match event:
                case AudioReceived(packets) if self.is_greeted:
                    session.form = self._wire.form
                    self._pace.spend(len(packets) - 1, 0)
                    await self._hear(packets, session, outbox)
                case Malformed(reason):
                    self._complain(reason, session)
                case _:  # audio from before the greeting would stay as lag; the rest is not for us
                    pass

    def _tell_lost_pages(self, session: Session) -> None:
        lost = self._wire.lost_pages - self._lost_pages
        if lost:
            self._lost_pages += lost
            session.counts["lost_pages"] += lost
            session.tell({"type": "skip", "frames": lost})  # a page is a frame, as a rule

    async def _hear(self, packets: Sequence[bytes], session: Session, outbox: Outbox) -> None:
        for number, packet in enumerate(packets, start=1):
            if outbox.ended:  # meanwhile; the session may go on over another socket
                return
            try:
                pcm = self._decoder.decode(packet)
                self._undecodable = 0
            except OpusDecodeError as error:
                session.counts["concealed"] += 1
                self._undecodable += 1
                if self._undecodable >= MAX_UNDECODABLE:
                    sentence = f"{MAX_UNDECODABLE} packets in a row were no Opus; the call ends."
                    raise Undecodable(sentence) from error
                pcm = self._decoder.conceal(packet_samples(packet) or PACKET_SAMPLES)
            for frame in self._assembler.push(pcm):
                session.offer(frame)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _complain(self, reason: str, session: Session) -> None:
        session.counts["malformed"] += 1
        now = self._clock.now()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            session.tell({"type": "complaint", "sentence": f"A message was ignored: {reason}."})


def _departure(close_code: int) -> ClientClosed:
    """A goodbye, or a loss."""
    if close_code in _NO_CLOSE_CODE or close_code >= _OWN_CLOSE_CODES:
        return ConnectionLost("The caller is gone without a goodbye.")
    return ClientClosed("The caller hung up.")
