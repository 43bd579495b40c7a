"""Call tokens: a site's back end signs them, so that its visitors may call without knowing the operator's token.

A token is a JWT signed with HS256 and the operator's `--call-token-key`. It must have `exp`, at most an hour ahead, and
`jti`, an id: it is good for one call. It may have `max_call_s`, how long that call may last, and `sub`, the visitor:
calls of one `sub` are counted together. SECURITY.md shows how to make one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import Refused, TokenExpired, TokenInvalid, TokenUsed

MAX_LIFETIME_S = 3600.0
_SWEEP_FROM = 1024  # used tokens
_LEEWAY_S = 5.0  # how far the clocks of two machines may differ
_EXPIRED = "The call token has expired. Its site can make a new one."


class CallToken(BaseModel):
    """The claims of a token whose signature is valid."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    jti: str = Field(min_length=1, max_length=128)
    exp: float
    sub: str | None = Field(default=None, min_length=1, max_length=128)
    max_call_s: float | None = Field(default=None, gt=0, le=1e9)


@dataclass(slots=True)
class TokenUse:
    """One attempt to make a call with a token."""

    is_spent: bool = True  # False: the call has not begun, and the token may be shown again


class CallTokens:
    """Verifies call tokens, and remembers which ones were used."""

    def __init__(self, key: str) -> None:
        import jwt  # here, as it loads a cryptography library: 0.1 s at start, only for servers with call tokens

        self._jwt = jwt
        self._key = key
        self._used: dict[str, float] = {}  # [jti]: when it has expired and is forgotten
        self._sweep_at = _SWEEP_FROM

    def read(self, text: str, may_resume: bool) -> CallToken:
        """The token in `text`. To resume a call, a used or expired one will do.

        Raises TokenInvalid, TokenExpired or TokenUsed.
        """
        try:
            claims = self._jwt.decode(
                text,
                self._key,
                algorithms=["HS256"],
                leeway=_LEEWAY_S,
                options={"require": ["exp", "jti"], "verify_exp": not may_resume},
            )
            token = CallToken.model_validate(claims)
        except self._jwt.ExpiredSignatureError as error:
            raise TokenExpired(_EXPIRED) from error
        except (
            self._jwt.InvalidTokenError,
            ValidationError,
            RecursionError,
        ) as error:
            raise TokenInvalid("Invalid token.") from error
        if token.exp > time.time() + MAX_LIFETIME_S + _LEEWAY_S:
            raise TokenInvalid("The call token is valid for more than an hour. Its site has to make shorter ones.")
        if not may_resume:
            self._check_unused(token)
        return token

    @contextmanager
    def use(self, token: CallToken) -> Iterator[TokenUse]:
        """Mark the token as used. It may be shown again if the block raises Refused, or its use is not spent.

        Raises TokenUsed or TokenExpired.
        """
        if token.exp + _LEEWAY_S <= time.time():  # one that was read for a resumption that this is not
            raise TokenExpired(_EXPIRED)
        self._check_unused(token)
        self._forget_expired()
        self._used[token.jti] = token.exp + _LEEWAY_S
        use = TokenUse()
        try:
            yield use
        except Refused:
            use.is_spent = False
            raise
        finally:
            if not use.is_spent:
                self._used.pop(token.jti, None)  # it may have been forgotten meanwhile

    def _forget_expired(self) -> None:
        if len(self._used) >= self._sweep_at:  # so that at most twice an hour's tokens are kept
            now = time.time()
            self._used = {jti: until for jti, until in self._used.items() if until > now}
            self._sweep_at = max(_SWEEP_FROM, 2 * len(self._used))

    def _check_unused(self, token: CallToken) -> None:
        if token.jti in self._used:
            raise TokenUsed("The call token has been used. Its site can make a new one.")
