"""The access policy: who may ask for what. Allows with a `ClientIdentity`, refuses with an error. Knows no sockets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NoReturn

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from server.access.call_tokens import CallToken, CallTokens
from server.access.forwarded import TrustedProxies
from server.access.hosts import ANY, HostPolicy, OriginPolicy
from server.access.identity import ClientIdentity
from server.access.tokens import generate_token, is_same, take_token
from server.addresses import is_local
from server.errors import TokenInvalid, TokenMissing
from server.settings import Settings

METRICS = "/metrics"
_GUARDED = "/api/"
_PROBES = {"/healthz", "/readyz"}  # asked by balancers, under any name


class AccessPolicy:
    """The access rules of one server. Owner: the event loop."""

    def __init__(self, settings: Settings) -> None:
        given = settings.token.get_secret_value() if settings.token else None
        self.generated_token = generate_token() if given is None and _needs_token(settings) else None
        self._token = given or self.generated_token  # None: nobody needs one
        self._calls_need_token = self._token is not None and not settings.public
        key = settings.call_token_key
        self._call_tokens = CallTokens(key.get_secret_value()) if key else None
        self.framed_by = () if ANY in settings.allowed_origin else settings.allowed_origin
        self._hosts = HostPolicy(settings.host, settings.allowed_host)
        self._origins = OriginPolicy(settings.allowed_origin)
        self._proxies = TrustedProxies(settings.trusted_proxy)

    def identify(self, scope: Scope) -> ClientIdentity:
        """Who sends this request, if it may be answered.

        Takes the token out of the scope's query. Raises Forbidden.
        """
        headers, path = Headers(scope=scope), scope["path"]
        shown = take_token(scope)
        key = self._proxies.resolve(scope)
        if not self._calls_need_token and path not in _PROBES:
            self._hosts.check(headers.get("host"))
        self._origins.check(headers.get("origin"), headers.get("host"), scope["scheme"])
        # A used or expired token may be shown to resume a call. `acquire` judges whether this one does.
        may_resume = scope["type"] == "websocket" and "resume" in QueryParams(scope["query_string"])
        is_operator = self._token is None or bool(shown and is_same(shown, self._token))
        call_token = None
        if path == METRICS and not is_operator:
            self._refuse(shown)
        if self._calls_need_token and not is_operator and (path.startswith(_GUARDED) or scope["type"] == "websocket"):
            call_token = self._read_call_token(shown, may_resume)
        if self._token and is_operator:
            key = None
        elif call_token and call_token.sub:
            key = f"sub {call_token.sub}"
        return ClientIdentity(is_operator, key, call_token)

    def acquire(self, identity: ClientIdentity, resumes: bool) -> ExitStack:
        """Use up a call token, unless the block raises Refused. Raises TokenUsed or TokenExpired."""
        with ExitStack() as held:
            if identity.call_token and self._call_tokens and not resumes:
                held.enter_context(self._call_tokens.use(identity.call_token))
            return held.pop_all()

    def _read_call_token(self, shown: str | None, may_resume: bool) -> CallToken:
        if not shown or self._call_tokens is None:
            self._refuse(shown)
        return self._call_tokens.read(shown, may_resume)

    def _refuse(self, shown: str | None) -> NoReturn:
        if shown:
            raise TokenInvalid("Invalid token.")
        raise TokenMissing("This server requires a token. It printed the token when it started.")


def _needs_token(settings: Settings) -> bool:
    """True where other machines can connect, unless everybody may."""
    reachable = [settings.host, *settings.allowed_host]
    return not settings.public and (settings.call_token_key is not None or not all(map(is_local, reachable)))
