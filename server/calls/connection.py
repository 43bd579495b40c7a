"""One client's WebSocket, from the request to the close.

Joins what knows nothing of each other: the socket, the dialect, the codec and the session. The `Receiver` reads what
the client sends; what goes back is sent here. Everything that ends a call is an error of `errors.py`, and only
`_close` turns it into what this client is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from server.access.identity import ClientIdentity
from server.access.policy import AccessPolicy, Permit
from server.access.responses import error_response
from server.access.tokens import SUBPROTOCOL
from server.audio.codecs import CODECS
from server.calls.receiver import Receiver
from server.calls.registry import stopping
from server.calls.service import Service
from server.dialects.dialect import Dialect, Message
from server.errors import (
    BadParameter,
    CallEnded,
    ClientClosed,
    EngineFailed,
    Forbidden,
    ParleyError,
    Refused,
    Restarting,
    TokenExpired,
    TokenUsed,
)
from server.events import AudioOut, Ended, Ready, ServerEvent, TextOut
from server.logs import call_id
from server.metrics import Count
from server.sessions.outbox import KeepAlive, Outbox, Reply
from server.sessions.params import SessionParams
from server.sessions.session import Session

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 1.0  # for what was said before the end of a call
CLOSE_TIMEOUT_S = 1.0  # for the last messages and the close
_MAX_REASON_BYTES = 123  # RFC 6455 §5.5: what a close frame holds beside its code


class Connection:
    """Serves one WebSocket request in one dialect."""

    def __init__(self, socket: WebSocket, service: Service, policy: AccessPolicy, dialect: type[Dialect]) -> None:
        self._socket = socket
        self._service = service
        self._policy = policy
        self._identity: ClientIdentity = socket.scope["identity"]
        self._dialect = dialect(socket.query_params)
        self._is_accepted = False

    async def run(self) -> None:
        """Serve the call to its end. Raises nothing that a client can cause."""
        try:
            why = await self._serve()
        except ParleyError as error:
            why = error.bare()
        except Exception:
            log.exception("call failed")
            why = EngineFailed()
        with suppress(ClientClosed, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._close(why)

    async def _serve(self) -> CallEnded:
        request, settings = self._dialect.request, self._service.settings
        waits = request.may_wait or (request.may_be_held and not settings.refuse_when_full)
        try:
            admission = self._admission(waits)
            permit = self._policy.acquire(self._identity, resumes=request.resume_token is not None)
        except (BadParameter, TokenExpired, TokenUsed) as error:
            self._service.calls.note_refusal(error)
            raise
        with permit:
            permit.mark_begun(request.resume_token is not None)
            if request.resume_token is None:  # before the client is accepted, so that it can be refused over HTTP
                self._service.calls.check_client(self._identity.client_key)
            if waits:
                await self._accept()
            with admission as session:
                call_id.set(session.id)
                if not self._is_accepted:
                    await self._accept()
                return await self._converse(session, permit)

    def _admission(self, waits: bool) -> AbstractContextManager[Session]:
        """What enters the session that the client asks for. Raises BadParameter."""
        calls, request = self._service.calls, self._dialect.request
        if request.resume_token is not None:
            return calls.resume(request.resume_token)
        client = self._identity
        remake_params = None if request.may_wait else self._params
        return calls.admit(self._params(), waits, client.client_key, client.max_call_s, remake_params)

    def _params(self) -> SessionParams:
        """What the client chose, and the model's defaults. Raises BadParameter."""
        return SessionParams.from_query({**self._service.card.params, **self._dialect.request.choices})

    async def _converse(self, session: Session, permit: Permit) -> CallEnded:
        """Read and send until the session's outbox is ended; why it was."""
        outbox = session.outbox  # this connection's: another one that takes the session over gets its own
        self._dialect.restore(session.wire_state)
        rate_limiter = self._service.calls.rate_limiter(session)
        receiver = Receiver(self._socket, self._dialect, rate_limiter, self._service.clock)
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(receiver.run(session, outbox))
            sending = tasks.create_task(self._send_all(session, outbox, receiver, permit))
            why = await outbox.wait_closed()
            if why.drains:
                await asyncio.wait({sending}, timeout=DRAIN_TIMEOUT_S)
            receiving.cancel()
            sending.cancel()
        if isinstance(why, Restarting) and session.ready_at is None and not self._dialect.request.may_wait:
            raise stopping()  # as a client that was held is told wherever there is no call to be had
        return why

    async def _send_all(self, session: Session, outbox: Outbox, receiver: Receiver, permit: Permit) -> None:
        encoder = CODECS[self._dialect.audio_format].make_encoder()
        # A closed socket is not reported here but by the receiver, which knows how it was closed.
        with suppress(ClientClosed):
            while (item := await outbox.next()) is not None:
                match item:
                    case Reply(pcm=pcm, piece=piece):
                        if piece:
                            await self._send(TextOut(piece), session)
                        if pcm is not None:
                            await self._send(AudioOut(encoder.encode(pcm)), session)
                        if not item.is_silence:
                            self._time(item, session)
                    case KeepAlive():
                        await self._send_messages(self._dialect.keep_alive(), session)
                    case _:
                        await self._send(item, session)
                        if isinstance(item, Ready):
                            receiver.is_ready = True
                            permit.mark_begun(True)
                            self._note_ready(session)

    def _time(self, reply: Reply, session: Session) -> None:
        turnaround_s = self._service.clock.now() - reply.offered_at
        send_s, server_s = turnaround_s - reply.wait_s - reply.step_s, turnaround_s - reply.model_s
        session.turnaround.add(turnaround_s)
        self._service.metrics.add_frame(
            wait_s=reply.wait_s, send_s=send_s, server_s=server_s, turnaround_s=turnaround_s
        )

    def _note_ready(self, session: Session) -> None:
        if session.ready_at is None:
            session.counts[Count.CALLS_STARTED] += 1
            session.ready_at = self._service.clock.now()
            log.info("call started")

    async def _close(self, why: ParleyError) -> None:
        """Tell the client why there is no call, or none any more, and close."""
        if isinstance(why, ClientClosed):
            return
        if not self._is_accepted:
            if isinstance(why, Forbidden | Refused) and self._dialect.refuses_over_http(why):
                with _translate_closed_socket():
                    await self._socket.send_denial_response(error_response(why))
                return
            await self._accept()
        is_fault = not isinstance(why, CallEnded) or why.is_fault
        await self._send(Ended(why.code, str(why), is_fault))
        reason = str(why).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        with _translate_closed_socket():
            await self._socket.close(why.close_code, reason)

    async def _accept(self) -> None:
        with _translate_closed_socket():
            await self._socket.accept(SUBPROTOCOL if SUBPROTOCOL in self._socket.scope["subprotocols"] else None)
        self._is_accepted = True

    async def _send(self, event: ServerEvent, session: Session | None = None) -> None:
        await self._send_messages(self._dialect.encode(event), session)

    async def _send_messages(self, messages: Sequence[Message], session: Session | None) -> None:
        counts = session.counts if session else self._service.metrics.counts  # a session's are added at its end
        for message in messages:
            counts[Count.SENT_BYTES] += len(message)
            with _translate_closed_socket():
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_text(message)


@contextmanager
def _translate_closed_socket() -> Iterator[None]:
    """A socket that is closed already says so by three kinds of exception; here they become one."""
    try:
        yield
    except (WebSocketDisconnect, RuntimeError, OSError) as error:
        raise ClientClosed("The client closed the connection.") from error
