"""One caller's WebSocket, from the request to the last word.

Joins what knows nothing of each other: the socket, the wire, Opus and the session. Everything that ends a
call is an error of `errors.py`, and `_part` alone turns it into what this caller is told.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from server.audio.framing import PACKET_SAMPLES, FrameAssembler
from server.audio.opus import OpusDecodeError, OpusDecoder, OpusEncoder
from server.audio.packet import packet_samples
from server.doors.doors import Doors
from server.doors.pace import Pace
from server.doors.refusal import refusal
from server.doors.tokens import SUBPROTOCOL
from server.doors.visitor import Visitor
from server.errors import (
    BadParameter,
    CallEnded,
    CallerLeft,
    CallerLost,
    EngineFailed,
    Forbidden,
    ParleyError,
    ProtocolViolated,
    Refused,
    TokenUsed,
    TooManyCalls,
    Undecodable,
)
from server.logs import call_id
from server.outbox import Event, Outbox, Reply
from server.reception import Reception
from server.session import Session, SessionParams
from server.wire.kyutai import AudioReceived, KyutaiProtocol, Malformed, ProtocolError

log = logging.getLogger(__name__)

DRAIN_S = 1.0  # what was said before the end of a call may take this long to send
PART_S = 1.0  # and the goodbye this long
COMPLAIN_EVERY_S = 1.0
MAX_UNDECODABLE = 50  # packets in a row: one second that is no Opus
_AT_ONCE = 8  # messages read, or packets of one message decoded, before the loop may turn to others
_NO_CLOSE_CODE = (1005, 1006)  # RFC 6455 §7.4.1; also where there was no close frame at all
_OWN_CLOSE_CODES = 3000  # and up: a client's own, and no goodbye
_MAX_REASON_BYTES = 123  # RFC 6455 §5.5: what a close frame holds beside its code

_Why = TypeVar("_Why", bound=ParleyError)


class Connection:
    """Serves one WebSocket request of `/api/chat`."""

    def __init__(self, socket: WebSocket, reception: Reception, doors: Doors) -> None:
        self._socket = socket
        self._reception = reception
        self._doors = doors
        self._visitor: Visitor = socket.scope["visitor"]
        self._wants_events = self._visitor.wants_events
        self._is_accepted = self._is_greeted = False
        self._pace = Pace(reception.settings.max_bytes_per_s, reception.clock)
        self._wire = KyutaiProtocol()
        self._decoder = OpusDecoder()
        self._assembler = FrameAssembler()
        self._encoder = OpusEncoder()
        self._lost_pages = 0
        self._undecodable = 0  # packets in a row
        self._complained_at = float("-inf")

    async def run(self) -> None:
        """Serve the call to its end. Raises nothing that a caller can cause."""
        try:
            why = await self._call()
        except ParleyError as error:
            why = _bare(error)
        except Exception:
            log.exception("call failed")
            why = EngineFailed("The server failed and ends this call; it is our fault.")
        with suppress(CallerLeft, TimeoutError):
            async with asyncio.timeout(PART_S):
                await self._part(why)

    async def _call(self) -> CallEnded:
        try:
            door, place = self._door(), self._doors.place(self._visitor)
        except (BadParameter, TooManyCalls, TokenUsed) as error:
            self._reception.calls.note_refusal(error)
            raise
        with place:
            if self._wants_events:
                await self._accept()
            with door as session:
                call_id.set(session.call)
                if not self._is_accepted:
                    await self._accept()
                return await self._converse(session)

    def _door(self) -> AbstractContextManager[Session]:
        query = self._socket.query_params
        if self._visitor.resumes:
            return self._reception.calls.resume(query["resume"])
        params = SessionParams.from_query(query).at_most(self._visitor.max_call_s)
        return self._reception.calls.admit(params, self._wants_events)

    async def _converse(self, session: Session) -> CallEnded:
        outbox = session.outbox
        if session.form:
            self._wire.expect(session.form)
        async with asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(self._listen(session, outbox))
            speaker = tasks.create_task(self._speak(session, outbox))
            why = await outbox.over()
            if why.drains:
                await asyncio.wait({speaker}, timeout=DRAIN_S)
            listener.cancel()
            speaker.cancel()
        return why

    # ── From the caller

    async def _listen(self, session: Session, outbox: Outbox) -> None:
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
            session.hang_up(outbox, _bare(why))

    async def _receive(self, message: bytes | str, session: Session, outbox: Outbox) -> None:
        try:
            events = self._wire.receive(message)
        except ProtocolError as error:
            raise ProtocolViolated(error.reason, error.close_code) from error
        finally:
            self._tell_lost_pages(session)
        for event in events:
            match event:
                case AudioReceived(packets) if self._is_greeted:
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
        now = self._reception.clock.now()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            session.tell({"type": "complaint", "sentence": f"A message was ignored: {reason}."})

    # ── To the caller

    async def _speak(self, session: Session, outbox: Outbox) -> None:
        # Who has left is not noticed here but by the listener, who is told how.
        with suppress(CallerLeft):
            while (item := await outbox.next()) is not None:
                if isinstance(item, Reply):
                    await self._say(item, session)
                else:
                    await self._tell(item, session)

    async def _say(self, reply: Reply, session: Session) -> None:
        if reply.piece:
            await self._send(self._wire.text(reply.piece), session)
        if reply.pcm is not None:
            for message in self._wire.audio(self._encoder.encode(reply.pcm)):
                await self._send(message, session)
        if not reply.to_silence:
            self._time(reply, session)

    def _time(self, reply: Reply, session: Session) -> None:
        turnaround_s = self._reception.clock.now() - reply.offered_at
        send_s, server_s = turnaround_s - reply.wait_s - reply.step_s, turnaround_s - reply.model_s
        session.turnaround.add(turnaround_s)
        self._reception.metrics.add_frame(
            wait_s=reply.wait_s, send_s=send_s, server_s=server_s, turnaround_s=turnaround_s
        )

    async def _tell(self, event: Event, session: Session) -> None:
        match event["type"]:
            case "ping":
                await self._send(self._wire.ping(), session)
                return
            case "complaint":
                await self._send(self._wire.error(event["sentence"]), session)
                return
            case "ready":
                await self._greet(event, session)
                return
        if self._wants_events:
            await self._send(self._wire.metadata(event), session)

    async def _greet(self, ready: Event, session: Session) -> None:
        """The handshake comes last: who has been greeted holds the token."""
        if self._wants_events:
            await self._send(self._wire.metadata(ready), session)
        await self._send(self._wire.handshake(), session)
        self._is_greeted = True
        if session.greeted_at is None:
            session.counts["begun"] += 1
            session.greeted_at = self._reception.clock.now()
            log.info("call started")

    async def _part(self, why: ParleyError) -> None:
        """Tell the caller why there is no call, or none any more."""
        if isinstance(why, CallerLeft):
            return
        if not self._is_accepted:
            if isinstance(why, Forbidden) or (isinstance(why, Refused) and not self._wants_events):
                await self._deny(why)
                return
            await self._accept()
        if not isinstance(why, CallEnded) or why.is_fault:
            await self._send(self._wire.error(str(why)))
        if self._wants_events:
            await self._send(self._wire.metadata({"type": "end", "reason": why.code}))
        reason = str(why).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        with _caller_may_leave():
            await self._socket.close(why.close_code, reason)

    async def _deny(self, why: Refused | Forbidden) -> None:
        with _caller_may_leave():
            await self._socket.send_denial_response(refusal(why))

    async def _accept(self) -> None:
        with _caller_may_leave():
            await self._socket.accept(SUBPROTOCOL if SUBPROTOCOL in self._socket.scope["subprotocols"] else None)
        self._is_accepted = True

    async def _send(self, message: bytes, session: Session | None = None) -> None:
        counts = session.counts if session else self._reception.metrics.counts  # its own are summed up at its end
        counts["sent_bytes"] += len(message)
        with _caller_may_leave():
            await self._socket.send_bytes(message)


def _bare(why: _Why) -> _Why:
    """Without what brought it about, whose frames hold the call that holds `why`: only a garbage collection, which may
    be hours away, would give back the call's decoders.
    """
    why.__cause__ = why.__context__ = None
    return why.with_traceback(None)


def _departure(close_code: int) -> CallerLeft:
    """A goodbye, or a loss."""
    if close_code in _NO_CLOSE_CODE or close_code >= _OWN_CLOSE_CODES:
        return CallerLost("The caller is gone without a goodbye.")
    return CallerLeft("The caller hung up.")


@contextmanager
def _caller_may_leave() -> Iterator[None]:
    """A socket that is closed already says so in three ways; here they become one."""
    try:
        yield
    except (WebSocketDisconnect, RuntimeError, OSError) as error:
        raise CallerLeft("The caller hung up.") from error
