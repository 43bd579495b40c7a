"""How a request carries a token, and how the operator's is made.

It travels as `Authorization: Bearer`, as a WebSocket subprotocol where a browser cannot set headers, or as `?token=`
from clients that can do neither. A query ends up in logs, so the token is taken out of the request here.
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
    """A random token of 128 bits, short enough to type."""
    return secrets.token_urlsafe(16)


def is_same(shown: str, token: str) -> bool:
    """Compare in constant time."""
    return secrets.compare_digest(shown.encode(errors="replace"), token.encode())


def take_token(scope: Scope) -> str | None:
    """The token of a request; it is removed from the query. None: there is none."""
    in_query = _take_from_query(scope)
    authorization = Headers(scope=scope).get("authorization", "")
    if authorization.lower().startswith(_BEARER):
        return authorization[len(_BEARER) :].strip()
    for value in Headers(scope=scope).getlist("sec-websocket-protocol"):  # also where a proxy lost the upgrade
        for name in map(str.strip, value.split(",")):
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
