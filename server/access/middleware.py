"""ASGI middleware before the whole application: it applies the access policy and sends the security headers."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.policy import AccessPolicy
from server.access.responses import error_response
from server.access.security_headers import security_headers
from server.errors import BodyNotAllowed, Forbidden

_STARTS = {"http.response.start", "websocket.http.response.start"}


class AccessMiddleware:
    """Refuses what the policy forbids; the application finds the `ClientIdentity` in `scope["identity"]`."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy, on_refused: Callable[[Forbidden], None]) -> None:
        self._app = app
        self._policy = policy
        self._on_refused = on_refused
        self._headers = security_headers(policy.framed_by)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        try:
            _refuse_body(scope)
            scope["identity"] = self._policy.identify(scope)
        except Forbidden as why:
            self._on_refused(why)
            await error_response(why)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _refuse_body(scope: Scope) -> None:
    """No endpoint takes a body, and a slow one would hold the connection. Raises BodyNotAllowed."""
    headers = Headers(scope=scope)
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise BodyNotAllowed("Requests with a body are not accepted.")
