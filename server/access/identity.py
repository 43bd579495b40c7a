"""Who sends a request, as far as that can be known."""

from __future__ import annotations

from dataclasses import dataclass

from server.access.call_tokens import CallToken


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """One request's sender."""

    is_operator: bool  # showed the operator's token, or no token is needed for anything
    client_key: str | None  # what its calls are counted under; None: they are not counted
    call_token: CallToken | None = None

    @property
    def max_call_s(self) -> float | None:
        """How long a call of this client may last, by its token; None: the token does not say."""
        return self.call_token.max_call_s if self.call_token else None
