"""Resume tokens: which session one opens, how often and until when."""

from __future__ import annotations

from server.calls.resume_tokens import ResumeTokens
from server.errors import ClientClosed
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeClock


def test_token_begins_with_the_server_id():
    session = Session(SessionParams(), FakeClock())
    assert ResumeTokens("gpu-1").issue(session).startswith("gpu-1.")
    assert "." not in ResumeTokens("").issue(session)


def test_token_of_an_ended_session_is_refused_every_time():
    """The session is still known while its last messages are sent."""
    tokens, session = ResumeTokens(""), Session(SessionParams(), FakeClock())
    token = tokens.issue(session)
    session.ready_at = 0.0
    session.end(ClientClosed("Closed."))
    assert tokens.redeem(token) is None
    assert tokens.redeem(token) is None


def test_token_is_refused_before_the_handshake():
    """The token is sent before the handshake, which a full connection may delay."""
    tokens, session = ResumeTokens(""), Session(SessionParams(), FakeClock())
    token = tokens.issue(session)
    session.open(token)
    assert tokens.redeem(token) is None
    session.ready_at = 0.0
    assert tokens.redeem(token) is session


def test_forget_removes_every_token_of_a_session():
    tokens, session = ResumeTokens(""), Session(SessionParams(), FakeClock())
    session.ready_at = 0.0
    for _ in range(100):
        assert tokens.redeem(tokens.issue(session)) is session
    assert len(tokens._holders) <= 2
    last = tokens.issue(session)
    tokens.forget(session)
    assert not tokens._holders and not tokens._newest and tokens.redeem(last) is None
