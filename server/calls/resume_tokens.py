"""Tokens with which a client resumes a session whose connection it lost: unguessable, and good for one use.

A token is void as soon as the client has sent audio over the connection that it opened, since its successor has then
arrived. Until then it may be used again, so that a connection lost twice in a row loses no session. What this looks
like on the wire is the dialect's: `dialects/README.md` for `/api/chat`.

Owner: the event loop. Knows no sockets and no slots.
"""

from __future__ import annotations

import hashlib
import secrets

from server.sessions.session import Session

_TOKEN_BYTES = 24  # 192 random bits


class ResumeTokens:
    """At most two for each session: the one that was sent last, and the one before while it may be needed."""

    def __init__(self, server_id: str) -> None:
        """Tokens begin with `server_id` and a dot, if there is one, so that a load balancer can route by them."""
        self._prefix = f"{server_id}." if server_id else ""
        # By their digests, so that a look-up's time tells nothing of how good a guess is.
        self._holders: dict[bytes, Session] = {}
        self._newest: dict[Session, bytes] = {}

    def issue(self, session: Session) -> str:
        """A new token for `session`."""
        token = self._prefix + secrets.token_urlsafe(_TOKEN_BYTES)
        self._newest[session] = _digest(token)
        self._holders[self._newest[session]] = session
        return token

    def redeem(self, token: str) -> Session | None:
        """The session it belongs to; None: there is none, it was used, the session is over, or is not ready yet.

        All other tokens of that session are void from here on, until the next is issued.
        """
        digest = _digest(token)
        session = self._holders.get(digest)
        if session is None or session.ended or session.ready_at is None:
            return None
        has_sent = session.last_audio_at is not None and session.last_audio_at > session.resumed_at
        if digest != self._newest[session] and has_sent:
            return None
        self.forget(session)
        self._holders[digest] = session
        return session

    def forget(self, session: Session) -> None:
        """Void all tokens of a session."""
        self._newest.pop(session, None)
        for digest in [digest for digest, holder in self._holders.items() if holder is session]:
            del self._holders[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
