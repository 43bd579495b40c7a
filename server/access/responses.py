"""The HTTP response to a client that is refused, before a WebSocket's upgrade and everywhere else."""

from __future__ import annotations

from starlette.responses import JSONResponse

from server.errors import Forbidden, Refused


def error_response(why: Forbidden | Refused) -> JSONResponse:
    """JSON with a code for programs and a sentence for people."""
    headers: dict[str, str] = {}
    if isinstance(why, Refused):
        headers["Retry-After"] = str(why.retry_after_s)
    elif why.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif why.http_status == 426:
        headers["Upgrade"] = "websocket"
    return JSONResponse({"error": {"code": why.code, "message": str(why)}}, why.http_status, headers)
