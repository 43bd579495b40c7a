"""Every way in which a client is refused or a session ends, and what the client is told.

    ParleyError
    ├── Forbidden              not allowed: HTTP 4xx before the upgrade
    │   ├── TokenMissing       401
    │   ├── TokenInvalid       401
    │   ├── TokenExpired       401
    │   ├── TokenUsed          401  a call token is good for one call
    │   ├── HostNotAllowed     403  the Host header names another server
    │   ├── OriginNotAllowed   403  a page of another site
    │   ├── ForwardedInvalid   400  a trusted proxy's header names no address
    │   ├── BodyNotAllowed     413
    │   ├── PathNotFound       404
    │   └── UpgradeRequired    426  a WebSocket's path, asked for without an upgrade
    ├── Refused                no session for now: HTTP 503 before the upgrade, close 1013 after it
    │   ├── ServerFull
    │   ├── ServerStarting
    │   ├── ServerStopping
    │   ├── TooManyCalls       429 instead of 503
    │   └── TooManyRequests    429 instead of 503; of any kind, from one address
    └── CallEnded              a session is over, or will not begin; it holds no slot any more
        ├── ClientClosed       1000  nobody is left to be told
        │   ├── ConnectionLost       without a close: the client may come back
    │   └── ClosedWithoutCode    as browsers hang up, and as some lose their connection: the client may come back
        ├── TakenOver          1000  the session goes on over another connection
        ├── LimitReached       1000  the length that was asked for, or that the operator allows
        ├── BadParameter       1008  a query parameter out of range or not a number
        ├── CannotResume       1008  the session to resume is over, or was never here
        ├── NoAudioTimeout     1008  no audio since the handshake
        ├── IdleTimeout        1008  no audio for a long time
        ├── NotListening       1008  the client reads nothing of what is sent
        ├── Undecodable        1008  too many consecutive packets that cannot be decoded
        ├── RateLimited        1008  more than a live call needs
        ├── ProtocolError      1008, or as the dialect says (1003, 1007, 1009)
        ├── Restarting         1012  the server stops
        ├── NonFiniteOutput    1011  our fault: the model produced NaN or infinity for this session
        └── EngineFailed       1011  our fault: every session ends

The message of each is a sentence for the client. Raised where it is known, told in one place
(`calls/connection.py`). Knows no sockets.
"""

from __future__ import annotations

from typing import ClassVar, Self


class ParleyError(Exception):
    """Base of all that a client may be told."""

    code: ClassVar[str]  # a word for programs and logs
    close_code: int

    def bare(self) -> Self:
        """The same without its causes and traceback.

        Their frames refer to the call, which refers to this: only a garbage collection, perhaps hours later, would
        free the call's decoders.
        """
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class Forbidden(ParleyError):
    """The request is not allowed, now or later."""

    close_code = 1008
    http_status: ClassVar[int] = 401


class TokenMissing(Forbidden):
    code = "token_missing"


class TokenInvalid(Forbidden):
    code = "token_invalid"


class TokenExpired(Forbidden):
    code = "token_expired"


class TokenUsed(Forbidden):
    code = "token_used"


class HostNotAllowed(Forbidden):
    code = "host"
    http_status = 403


class OriginNotAllowed(Forbidden):
    code = "origin"
    http_status = 403


class ForwardedInvalid(Forbidden):
    code = "forwarded"
    http_status = 400


class BodyNotAllowed(Forbidden):
    code = "body"
    http_status = 413


class PathNotFound(Forbidden):
    code = "path"
    http_status = 404


class UpgradeRequired(Forbidden):
    code = "upgrade"
    http_status = 426


class Refused(ParleyError):
    """There is no session to be had now; later there may be."""

    close_code = 1013
    http_status: ClassVar[int] = 503
    retry_after_s: ClassVar[int] = 5


class ServerFull(Refused):
    code = "full"


class ServerStarting(Refused):
    code = "starting"


class ServerStopping(Refused):
    code = "stopping"


class TooManyCalls(Refused):
    code = "too_many"
    http_status = 429


class TooManyRequests(Refused):
    code = "requests"
    http_status = 429


class CallEnded(ParleyError):
    """A session is over."""

    is_fault: ClassVar[bool] = True  # False: nothing went wrong, so no error is shown
    drains: ClassVar[bool] = True  # what was said already is still sent


class ClientClosed(CallEnded):
    code = "left"
    close_code = 1000
    is_fault = False
    drains = False
    may_return: ClassVar[bool] = False


class ConnectionLost(ClientClosed):
    code = "lost"
    may_return = True


class ClosedWithoutCode(ClientClosed):
    may_return = True


class TakenOver(CallEnded):
    code = "taken_over"
    close_code = 1000
    is_fault = False
    drains = False


class LimitReached(CallEnded):
    code = "limit"
    close_code = 1000
    is_fault = False


class BadParameter(CallEnded):
    code = "parameter"
    close_code = 1008


class CannotResume(CallEnded):
    code = "resume"
    close_code = 1008


class NoAudioTimeout(CallEnded):
    code = "never_spoke"
    close_code = 1008


class IdleTimeout(CallEnded):
    code = "quiet"
    close_code = 1008


class NotListening(CallEnded):
    code = "not_listening"
    close_code = 1008
    drains = False


class Undecodable(CallEnded):
    code = "undecodable"
    close_code = 1008


class RateLimited(CallEnded):
    code = "flood"
    close_code = 1008

    def __init__(self) -> None:
        super().__init__("Rate limit exceeded: the client sends more than a live call needs. The call was ended.")


class ProtocolError(CallEnded):
    code = "protocol"

    def __init__(self, message: str, close_code: int = 1008) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.lost_frames = 0  # audio of the same message that was lost, as an `AudioLost` would say


class Restarting(CallEnded):
    code = "restarting"
    close_code = 1012


class NonFiniteOutput(CallEnded):
    code = "broken"
    close_code = 1011


class EngineFailed(CallEnded):
    code = "engine"
    close_code = 1011
    drains = False

    def __init__(self) -> None:
        super().__init__("The server failed and ended this call. This is our fault. Please call again.")
