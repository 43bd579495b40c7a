"""ASGI middleware around the application. It asks the policy about each request, by the route that will answer it.

`AccessMiddleware` is outermost: path, rate, body, host and origin, preflights included. `IdentityMiddleware` stands
inside CORS, so that pages of allowed sites may read that a token is missing. Preflights, which carry none, end before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.levels import Access, access_of, cost_of, find_route
from server.access.paths import normalize_path
from server.access.policy import AccessPolicy
from server.access.request_limits import RequestLimiter
from server.access.responses import error_response
from server.access.tokens import take_token
from server.clock import Clock
from server.errors import (
    BodyNotAllowed,
    Forbidden,
    HostNotAllowed,
    OriginNotAllowed,
    ParleyError,
    PathNotFound,
    Refused,
    TooManyRequests,
)

log = logging.getLogger(__name__)

_LOG_EVERY_S = 60.0
_MAX_LOGGED_CHARS = 200
_THIS_MACHINE = "this machine"


class AccessMiddleware:
    """Refuses what no token could allow."""

    def __init__(
        self,
        app: ASGIApp,
        policy: AccessPolicy,
        routes: Sequence[BaseRoute],
        clock: Clock,
        on_refused: Callable[[ParleyError], None],
    ) -> None:
        self._app = app
        self._policy = policy
        self._routes = routes
        self._requests = RequestLimiter(clock)
        self._on_refused = on_refused
        self._refusals = _RefusalLog(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if _has_body(scope):
            send = _closing(send)  # or the server would wait for the rest of the body
        with ExitStack() as counted:
            try:
                counted.enter_context(self._admit(scope))
            except (Forbidden, Refused) as why:
                self._refusals.note(why, scope)
                if scope["type"] == "websocket" or why.http_status in (403, 413):
                    self._on_refused(why)
                await error_response(why)(scope, receive, send)
                return
            if scope["type"] == "websocket":
                counted.close()  # what an open socket may cost is limited elsewhere
            await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> ExitStack:
        """Count the request, and leave what is found in the scope. Raises Forbidden or TooManyRequests."""
        scope["shown_token"] = take_token(scope)  # first: whatever is logged of the request has no token
        scope["client_key"] = None
        with ExitStack() as counted:
            route = missing = None
            try:
                scope["client_key"] = self._policy.resolve_client(scope)
                normalize_path(scope)
                route = find_route(self._routes, scope)
            except Forbidden as why:
                missing = why
            cost = cost_of(route) if route else 1
            counted.enter_context(self._requests.acquire(scope["client_key"] or _THIS_MACHINE, cost))
            if route is None:
                raise missing or AssertionError
            scope["access"] = access_of(route)
            if _has_body(scope):
                raise BodyNotAllowed("Requests with a body are not accepted.")
            self._policy.check_site(scope, scope["access"])
            return counted.pop_all()


class IdentityMiddleware:
    """Refuses who shows no token where one is needed; the application finds the `ClientIdentity` in the scope."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy, on_refused: Callable[[ParleyError], None]) -> None:
        self._app = app
        self._policy = policy
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["access"] in (Access.CALLER, Access.OPERATOR):
            try:
                scope["identity"] = self._policy.identify(scope, scope["access"], scope["shown_token"])
            except Forbidden as why:
                self._on_refused(why)
                await error_response(why)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _RefusalLog:
    """Tells the operator once a minute whom a flag would allow: a proxy or a page may be meant to get in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}  # by the error's code

    def note(self, why: ParleyError, scope: Scope) -> None:
        if isinstance(why, PathNotFound) and scope["type"] != "websocket":
            return  # browsers ask for files that there might be
        now = self._clock.now()
        if now - self._logged_at.get(why.code, float("-inf")) < _LOG_EVERY_S:
            return
        self._logged_at[why.code] = now
        headers = Headers(scope=scope)
        host = headers.get("host", "")[:_MAX_LOGGED_CHARS]
        origin = headers.get("origin", "")[:_MAX_LOGGED_CHARS]
        match why:
            case HostNotAllowed():
                name = host.rpartition(":")[0] or host
                fields = {"host": host, "origin": origin, "flag": f"--allowed-host {name}"}
            case OriginNotAllowed():
                fields = {"host": host, "origin": origin, "flag": f"--allowed-origin {origin or 'URL'}"}
            case TooManyRequests() | PathNotFound():
                fields = {"reason": why.code, "path": scope["path"][:_MAX_LOGGED_CHARS]}
            case _:
                return
        log.warning("a request was refused; more like it are not logged for a minute", extra=fields)


def _has_body(scope: Scope) -> bool:
    """No endpoint takes a body, and a slow one would hold the connection."""
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _closing(send: Send) -> Send:
    """`send` with a response that closes the connection."""

    async def send_closing(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = [header for header in message.get("headers", ()) if header[0] != b"connection"]
            message = {**message, "headers": [*headers, (b"connection", b"close")]}
        await send(message)

    return send_closing
