"""One caller's WebSocket, from the request to the last word.

Joins what knows nothing of each other: the socket, the wire, Opus and the session. What the caller says is the
`Receiver`'s, what goes back is here. Everything that ends a call is an error of `errors.py`, and `_part` alone turns it
into what this caller is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from server.access.identity import ClientIdentity
from server.access.policy import AccessPolicy
from server.access.responses import error_response
from server.access.tokens import SUBPROTOCOL
from server.audio.opus import OpusEncoder
from server.calls.receiver import Receiver
from server.calls.service import Service
from server.dialects.kyutai_protocol import KyutaiProtocol
from server.errors import (
    BadParameter,
    CallEnded,
    ClientClosed,
    EngineFailed,
    Forbidden,
    ParleyError,
    Refused,
    TokenUsed,
    TooManyCalls,
)
from server.logs import call_id
from server.sessions.outbox import Event, Outbox, Reply
from server.sessions.params import SessionParams
from server.sessions.session import Session

log = logging.getLogger(__name__)

DRAIN_S = 1.0  # what was said before the end of a call may take this long to send
PART_S = 1.0  # and the goodbye this long
_MAX_REASON_BYTES = 123  # RFC 6455 §5.5: what a close frame holds beside its code


class Connection:
    """Serves one WebSocket request of `/api/chat`."""

    def __init__(self, socket: WebSocket, service: Service, policy: AccessPolicy) -> None:
        self._socket = socket
        self._service = service
        self._policy = policy
        self._visitor: ClientIdentity = socket.scope["identity"]
        self._wants_events = self._visitor.wants_events
        self._is_accepted = False
        self._wire = KyutaiProtocol()
        self._receiver = Receiver(socket, self._wire, service.settings.max_bytes_per_s, service.clock)
        self._encoder = OpusEncoder()

    async def run(self) -> None:
        """Serve the call to its end. Raises nothing that a caller can cause."""
        try:
            why = await self._call()
        except ParleyError as error:
            why = error.bare()
        except Exception:
            log.exception("call failed")
            why = EngineFailed("The server failed and ends this call; it is our fault.")
        with suppress(ClientClosed, TimeoutError):
            async with asyncio.timeout(PART_S):
                await self._part(why)

    async def _call(self) -> CallEnded:
        try:
            door, place = self._door(), self._policy.place(self._visitor)
        except (BadParameter, TooManyCalls, TokenUsed) as error:
            self._service.calls.note_refusal(error)
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
            return self._service.calls.resume(query["resume"])
        params = SessionParams.from_query({**self._service.card.params, **query}).at_most(self._visitor.max_call_s)
        return self._service.calls.admit(params, self._wants_events)

    async def _converse(self, session: Session) -> CallEnded:
        outbox = session.outbox
        if session.form:
            self._wire.expect(session.form)
        async with asyncio.TaskGroup() as tasks:
            receiver = tasks.create_task(self._receiver.run(session, outbox))
            speaker = tasks.create_task(self._speak(session, outbox))
            why = await outbox.over()
            if why.drains:
                await asyncio.wait({speaker}, timeout=DRAIN_S)
            receiver.cancel()
            speaker.cancel()
        return why

    async def _speak(self, session: Session, outbox: Outbox) -> None:
        # Who has left is not noticed here but by the receiver, who is told how.
        with suppress(ClientClosed):
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
        turnaround_s = self._service.clock.now() - reply.offered_at
        send_s, server_s = turnaround_s - reply.wait_s - reply.step_s, turnaround_s - reply.model_s
        session.turnaround.add(turnaround_s)
        self._service.metrics.add_frame(
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
        self._receiver.is_greeted = True
        if session.greeted_at is None:
            session.counts["begun"] += 1
            session.greeted_at = self._service.clock.now()
            log.info("call started")

    async def _part(self, why: ParleyError) -> None:
        """Tell the caller why there is no call, or none any more."""
        if isinstance(why, ClientClosed):
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
            await self._socket.send_denial_response(error_response(why))

    async def _accept(self) -> None:
        with _caller_may_leave():
            await self._socket.accept(SUBPROTOCOL if SUBPROTOCOL in self._socket.scope["subprotocols"] else None)
        self._is_accepted = True

    async def _send(self, message: bytes, session: Session | None = None) -> None:
        counts = session.counts if session else self._service.metrics.counts  # its own are summed up at its end
        counts["sent_bytes"] += len(message)
        with _caller_may_leave():
            await self._socket.send_bytes(message)


@contextmanager
def _caller_may_leave() -> Iterator[None]:
    """A socket that is closed already says so in three ways; here they become one."""
    try:
        yield
    except (WebSocketDisconnect, RuntimeError, OSError) as error:
        raise ClientClosed("The caller hung up.") from error
