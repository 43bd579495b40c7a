"""The access policy: who may ask for what. Allows with a `ClientIdentity`, refuses with an error. Knows no sockets."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import NoReturn, Self

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from server.access.call_tokens import CallToken, CallTokens, TokenUse
from server.access.forwarded import TrustedProxies
from server.access.hosts import ANY, HostPolicy, OriginPolicy
from server.access.identity import ClientIdentity
from server.access.levels import Access
from server.access.tokens import generate_token, is_same
from server.addresses import is_local
from server.errors import TokenInvalid, TokenMissing
from server.settings import Settings

_PAGE_PATHS = ("/", "/index.html")  # a link on any site may lead here
_CROSS_SITE = "cross-site"  # in place of an origin that the browser did not name: no site's


class Permit:
    """A call that may be made: counted, and its token reserved, until the block is left."""

    def __init__(self, held: ExitStack, use: TokenUse | None) -> None:
        self._held = held
        self._use = use

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, raised, traceback)

    def mark_begun(self, has_begun: bool) -> None:
        """Whether the call has begun: only then is its token good for no other one."""
        if self._use:
            self._use.is_spent = has_begun


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

    def resolve_client(self, scope: Scope) -> str | None:
        """What the client counts under, None on this machine; `scope` gets its address. Raises ForwardedInvalid."""
        return self._proxies.resolve(scope)

    def check_site(self, scope: Scope, access: Access) -> None:
        """Check from which site's page a request comes, and for which server. Raises HostNotAllowed, OriginNotAllowed.

        Static files are no secret, and a proxy may rewrite Host: for them the browser's own word is enough.
        """
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        is_navigation = scope["path"] in _PAGE_PATHS and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") == "cross-site" and not is_navigation:
            self._origins.check(origin or _CROSS_SITE, host, scope["scheme"])
        if access is Access.PAGE:
            return
        if not self._calls_need_token and access is not Access.PROBE:
            self._hosts.check(host)
        self._origins.check(origin, host, scope["scheme"])

    def identify(self, scope: Scope, access: Access, shown: str | None) -> ClientIdentity:
        """Who sends this request, by the token it shows, if a route of this access may answer. Raises Forbidden."""
        # A used or expired token may be shown to resume a call. `acquire` judges whether this one does.
        may_resume = scope["type"] == "websocket" and "resume" in QueryParams(scope["query_string"])
        is_operator = self._token is None or bool(shown and is_same(shown, self._token))
        call_token = None
        if access is Access.OPERATOR and not is_operator:
            self._refuse(shown)
        if access is Access.CALLER and self._calls_need_token and not is_operator:
            call_token = self._read_call_token(shown, may_resume)
        key = scope["client_key"]
        if self._token and is_operator:
            key = None
        elif call_token and call_token.sub:
            key = f"sub {call_token.sub}"
        return ClientIdentity(is_operator, key, call_token)

    def acquire(self, identity: ClientIdentity, resumes: bool) -> Permit:
        """Permission for a call, held until the block is left. Raises TokenUsed or TokenExpired."""
        with ExitStack() as held:
            use = None
            if identity.call_token and self._call_tokens and not resumes:
                use = held.enter_context(self._call_tokens.use(identity.call_token))
            return Permit(held.pop_all(), use)

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
