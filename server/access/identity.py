"""Who stands in the door, as far as that can be known."""

from __future__ import annotations

from dataclasses import dataclass

from server.access.call_tokens import CallToken


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """One request's sender."""

    is_operator: bool  # showed the operator's token, or none is needed for anything
    wants_events: bool
    resumes: bool  # the call that they want goes on, or there is none: a used token will do for that
    caller: str | None  # whose calls are counted together; None: nobody's
    call_token: CallToken | None = None

    @property
    def max_call_s(self) -> float | None:
        """What this identity's token says on the length of their call."""
        return self.call_token.max_call_s if self.call_token else None
