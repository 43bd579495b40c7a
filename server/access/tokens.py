"""How a token is shown, and the one that the operator has.

It travels as `Authorization: Bearer`, as a WebSocket subprotocol where a browser can't set headers, or as `?token=`
by clients that can do neither. The last ends up in other people's logs, so it is taken out of the request here.
"""

from __future__ import annotations

import secrets
from urllib.parse import unquote_plus

from starlette.datastructures import Headers
from starlette.types import Scope

SUBPROTOCOL = "parley"  # what the server selects
TOKEN_SUBPROTOCOL = "parley.token."  # followed by the token; never selected, so never sent back
_BEARER = "bearer "
_QUERY = b"token="


def generate_token() -> str:
    """One that nobody guesses, short enough to type."""
    return secrets.token_urlsafe(16)


def is_same(shown: str, token: str) -> bool:
    """Takes as long for a token that is nearly right."""
    return secrets.compare_digest(shown.encode(errors="replace"), token.encode())


def take_token(scope: Scope) -> str | None:
    """The token that a request shows, which no longer holds it in its query."""
    in_query = _take_from_query(scope)
    authorization = Headers(scope=scope).get("authorization", "")
    if authorization.lower().startswith(_BEARER):
        return authorization[len(_BEARER) :].strip()
    for name in scope.get("subprotocols", ()):
        if name.startswith(TOKEN_SUBPROTOCOL):
            return name.removeprefix(TOKEN_SUBPROTOCOL)
    return in_query


def _take_from_query(scope: Scope) -> str | None:
    parts = scope["query_string"].split(b"&")
    found = [part for part in parts if part.startswith(_QUERY)]
    if not found:
        return None
    # In place: the HTTP server writes its own log from the same scope.
    scope["query_string"] = b"&".join(part for part in parts if part not in found)
    return unquote_plus(found[0].removeprefix(_QUERY).decode("latin-1"))
