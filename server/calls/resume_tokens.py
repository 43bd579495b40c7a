"""Names by which callers find back to a conversation whose socket they lost: unguessable, and good for once.

On the wire, for clients that say `?events=1` only:

    {"type": "ready", "call", "seed", "resume": TOKEN | null, "resume_s"}  right before the handshake; null: not offered
                                        and `left_s`, the seconds until its limit, where it has one
    /api/chat?events=1&resume=TOKEN     the same conversation goes on: `ready` again, with a new token and with `gap_s`,
                                        the seconds since the caller was last heard; then `skip`, if anything was missed
    {"type": "end", "reason": "resume"}, close 1008     it is over or was never here; the caller may begin anew
    {"type": "end", "reason": "taken_over"}, close 1000     to the socket that the caller has left

A socket is lost when it ends without a close frame, with one that has no code, or with a code of the client's own (3000
and up: a client that gives up a dead line says 4000). 1000 and 1001 are a goodbye; browsers send 1001 when a page is
left. Sleep and a lost network send nothing. A token works on a socket that still seems alive, too: it takes over.

A token is void as soon as the caller has been heard over the socket that it opened, since then its successor has come
through; until then it may be used again, so that a line lost twice in a row loses no conversation.

Owner: the event loop. Knows no sockets and no slots.
"""

from __future__ import annotations

import hashlib
import secrets

from server.sessions.session import Session

_TOKEN_BYTES = 24  # of chance: 192 bits


class ResumeTokens:
    """At most two for each session: the one that was told last, and the one before as long as it may be needed."""

    def __init__(self, server_id: str) -> None:
        """ResumeTokens begin with `server_id` and a dot, if there is one, so that a balancer knows whose they are."""
        self._prefix = f"{server_id}." if server_id else ""
        # By their digests: to find one takes as long for a good guess as for a bad one.
        self._holders: dict[bytes, Session] = {}
        self._newest: dict[Session, bytes] = {}

    def issue(self, session: Session) -> str:
        """A new token for `session`."""
        token = self._prefix + secrets.token_urlsafe(_TOKEN_BYTES)
        self._newest[session] = _digest(token)
        self._holders[self._newest[session]] = session
        return token

    def redeem(self, token: str) -> Session | None:
        """Whose it is; None: nobody's, or it was used, or the call is over, or its caller is only being greeted.

        All others of that session are void from here on, until the next is issued.
        """
        digest = _digest(token)
        session = self._holders.get(digest)
        if session is None or session.ended or session.greeted_at is None:
            return None
        was_heard = session.heard_at is not None and session.heard_at > session.resumed_at
        if digest != self._newest[session] and was_heard:
            return None
        self.forget(session)
        self._holders[digest] = session
        return session

    def forget(self, session: Session) -> None:
        """Void all of a session's."""
        self._newest.pop(session, None)
        for digest in [digest for digest, holder in self._holders.items() if holder is session]:
            del self._holders[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
