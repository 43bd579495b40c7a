"""How long the server waits for a caller who takes no part, and what it says then. Owns no state."""

from __future__ import annotations

from server.errors import CallEnded, CallerLost, GoneQuiet, NeverSpoke, NotListening
from server.session import Session, SessionState
from server.settings import Settings


def at_its_end(session: Session, now: float, limits: Settings) -> CallEnded | None:
    """Why the call is not to go on; None: it may."""
    if session.state is SessionState.PARKED:
        may_come = now - session.parked_at <= session.resume_s
        return None if may_come else CallerLost("The caller did not come back.")
    if session.outbox.stalled_s(now) > limits.stalled_s:
        return NotListening("Nothing that was sent to you is being read, so the call ends.")
    if session.greeted_at is None:
        return None
    if session.heard_at is None:
        is_late = now - session.greeted_at > limits.first_audio_s
        return NeverSpoke(f"No audio came within {limits.first_audio_s:g} s, so the call ends.") if is_late else None
    is_quiet = now - session.heard_at > limits.quiet_s
    return GoneQuiet(f"No audio has come for {limits.quiet_s:g} s, so the call ends.") if is_quiet else None
