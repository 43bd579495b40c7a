"""The seam between a wire protocol and everything else: `Dialect`.

A new dialect is one file beside this one and one line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeAlias

from server.audio.codecs import AudioFormat
from server.errors import ParleyError
from server.events import ClientEvent, ServerEvent

Message: TypeAlias = bytes | str  # one WebSocket message, binary or text


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a client asks for when it connects."""

    choices: Mapping[str, str] = field(default_factory=dict)  # by the names of `sessions/params.py`, not checked yet
    may_wait: bool = False  # True: the client understands being queued, and may resume
    may_be_held: bool = False  # True: it understands neither, but waits for the handshake once it is accepted
    resume_token: str | None = None  # of the session that is to go on; None: a new one


class Dialect(Protocol):
    """One connection's wire protocol, sans I/O: one object for each connection, made when it is requested.

    The connection calls, in this order: the constructor; `restore` when a session goes on that began on another
    connection; then `decode` for each message that comes and `encode` for each event that is to be told, in any
    order; last of all `encode` with `Ended`. A client that is refused before the WebSocket is accepted gets an HTTP
    response where `refuses_over_http`, and is accepted, told `Ended` and closed elsewhere.
    """

    path: ClassVar[str]  # of its WebSocket endpoint
    audio_format: ClassVar[AudioFormat]  # of `AudioIn` and `AudioOut`
    max_message_bytes: ClassVar[int]  # a longer WebSocket message closes the connection before it is decoded

    def __init__(self, query: Mapping[str, str]) -> None:
        """Read the request's query. Raises nothing: what is wrong with the choices is found by `sessions/params.py`."""
        ...

    @property
    def request(self) -> SessionRequest: ...

    @property
    def wire_state(self) -> Hashable:
        """What a later connection of the same session has to know of this one: opaque to everybody else."""
        ...

    def restore(self, wire_state: Hashable) -> None:
        """Go on as the session's connection before left off."""
        ...

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """What a message means; nothing where its kind is unknown. Raises ProtocolError to end the session."""
        ...

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """The messages that tell `event`; none where the client does not understand it."""
        ...

    def keep_alive(self) -> Sequence[Message]:
        """What is sent after seconds without any other message; nothing where WebSocket pings are enough."""
        ...

    def refuses_over_http(self, why: ParleyError) -> bool:
        """Whether this refusal is an HTTP response instead of a WebSocket close."""
        ...
