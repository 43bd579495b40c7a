"""Fuzz targets for the access policy: an invalid token, a foreign host name and a foreign origin are refused, and no
token stays where it would be logged.

What makes a token valid is computed here without the server's code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import socket
import time
from contextlib import suppress
from urllib.parse import unquote_plus

from starlette.types import Scope

from server.access.call_tokens import CallToken, CallTokens
from server.access.levels import Access
from server.access.policy import AccessPolicy
from server.access.responses import error_response
from server.access.tokens import take_token
from server.errors import Forbidden, TokenExpired, TokenUsed
from server.settings import Settings
from tests.fuzz.parsers import pieces

KEY, TOKEN = "k" * 32, "an-operators-token"
SEED_JTI = "signed-by-the-site"  # the jti of the only valid tokens among the seeds
NOW = b"NOW+"  # in claims: followed by digits, that many seconds from now
_HOUR_S, _LEEWAY_S = 3600.0, 5.0


def sign(header: bytes, claims: bytes) -> str:
    """A JWT of these parts, valid or not, signed with `KEY`."""
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    return (signed + b"." + base64.urlsafe_b64encode(_signature(signed)).rstrip(b"=")).decode()


def _signature(signed: bytes) -> bytes:
    return hmac.new(KEY.encode(), signed, hashlib.sha256).digest()


def _is_signed(text: str) -> bool:
    """Whether `text` says HS256 and has the signature of `KEY`."""
    signed, _, signature = text.encode().rpartition(b".")
    header, _, _ = signed.partition(b".")
    claimed = json.loads(base64.urlsafe_b64decode(header + b"=="))
    return claimed["alg"] == "HS256" and base64.urlsafe_b64decode(signature + b"==") == _signature(signed)


def token(data: bytes) -> None:
    """Any text and any signed claims are a call token within its bounds that is valid once, or raise Forbidden."""
    may_resume, signs = bool(data[:1] > b"\x7f"), data[:1] < b"\xc0"
    text = data[1:].decode("latin-1")
    if signs:
        header, claims, *_ = [*pieces(data[1:]), b"", b""]
        claims = re.sub(rb"NOW\+(\d{1,9})", lambda found: str(int(time.time()) + int(found[1])).encode(), claims)
        text = sign(header, claims)
    tokens = CallTokens(KEY)
    try:
        read = tokens.read(text, may_resume)
    except Forbidden as why:
        _check_refusal(why)
        return
    assert _is_signed(text), "an unsigned token was accepted"
    _check_claims(read, may_resume)
    with tokens.use(read):
        pass
    try:
        tokens.read(text, may_resume=False)
    except Forbidden:
        return
    raise AssertionError("a token was accepted for two calls")


def _check_claims(read: CallToken, may_resume: bool) -> None:
    left_s = read.exp - time.time()
    assert (may_resume or left_s > -_LEEWAY_S - 1) and left_s <= _HOUR_S + _LEEWAY_S, f"{left_s} s are left"
    assert 1 <= len(read.jti) <= 128
    assert read.sub is None or 1 <= len(read.sub) <= 128
    assert read.max_call_s is None or 0 < read.max_call_s <= 1e9


def _check_refusal(why: Forbidden) -> None:
    answer = error_response(why)
    error = json.loads(bytes(answer.body))["error"]
    assert answer.status_code in (400, 401, 403) and error["message"].endswith(".") and TOKEN not in error["message"]


# The kinds of server: without a token, with one, with call tokens too, and with --public.
_SETTINGS = {
    "open": Settings(model="echo"),
    "token": Settings(model="echo", host="0.0.0.0", token=TOKEN),  # type: ignore[arg-type]
    "site": Settings(model="echo", host="0.0.0.0", token=TOKEN, call_token_key=KEY),  # type: ignore[arg-type]
    "public": Settings(model="echo", host="0.0.0.0", token=TOKEN, public=True),  # type: ignore[arg-type]
}
_PATHS = {
    "/api/chat": Access.CALLER,
    "/api/info": Access.CALLER,
    "/metrics": Access.OPERATOR,
    "/": Access.PAGE,
    "/healthz": Access.PROBE,
}
_HEADERS = (b"sec-websocket-protocol", b"host", b"origin", b"authorization", b"x-forwarded-for")


def access(data: bytes) -> None:
    """A request that passes the policy has the right to."""
    first, second = data.ljust(2, b"\0")[:2]
    kind = [*_SETTINGS][first % len(_SETTINGS)]
    scope = _scope([*_PATHS][second % len(_PATHS)], bool(second & 0x80), pieces(data[2:]))
    if is_proxied := bool(second & 0x40):
        scope["client"] = ("127.0.0.1", 50_000)
    credentials = unquote_plus(
        b" ".join([scope["query_string"], *(value for _, value in scope["headers"])]).decode("latin-1")
    )
    policy = AccessPolicy(_SETTINGS[kind])  # a new one, without used tokens
    access = _PATHS[scope["path"]]
    shown = take_token(scope)
    try:
        scope["client_key"] = policy.resolve_client(scope)
        policy.check_site(scope, access)
        identity = policy.identify(scope, access, shown)
    except Forbidden as why:
        _check_refusal(why)
    else:
        _check_admitted(kind, scope, credentials, identity.is_operator, identity.call_token)
        is_local = is_proxied and not dict(scope["headers"]).get(b"x-forwarded-for", b"").strip(b", \t")
        assert identity.client_key or is_local or (kind != "open" and identity.is_operator), "its calls are not counted"
        for may_resume in (False, True):
            with suppress(TokenUsed, TokenExpired), policy.acquire(identity, may_resume):
                pass
    assert not any(part.startswith(b"token=") for part in scope["query_string"].split(b"&")), (
        "a token in the query would be logged"
    )


def _check_admitted(kind: str, scope: Scope, credentials: str, is_operator: bool, call_token: CallToken | None) -> None:
    path, headers = scope["path"], dict(scope["headers"])
    is_guarded = path.startswith("/api/")
    if kind != "open" and is_operator:
        assert TOKEN in credentials, "accepted as the operator without its token"
    if path == "/metrics":
        assert is_operator
    if kind in ("token", "site") and is_guarded and not is_operator:
        assert kind == "site" and call_token and call_token.jti == SEED_JTI, "accepted without a token"
    host = re.sub(r"[\t\r\n]", "", headers.get(b"host", b"localhost").decode("latin-1")).strip().lower() or "localhost"
    if kind in ("open", "public") and path not in ("/healthz", "/"):
        assert re.fullmatch(_OWN_HOSTS, host), f"accepted for host {host}"
    if path != "/" and (origin := headers.get(b"origin", b"").decode("latin-1").lower()):
        theirs = re.sub(r"[\t\r\n]", "", origin).partition("://")[2]
        assert theirs.partition(":")[0].strip() in host, f"accepted from {origin} for host {host}"


_OWN_HOSTS = rf"([\w.-]*\.)?localhost\.?(:\d*)?|[\d.]+(:\d*)?|\[[^\]]*\]\.?(:\d*)?|{re.escape(socket.gethostname())}.*"


def _scope(path: str, is_socket: bool, parts: list[bytes]) -> Scope:
    query, subprotocols, *values = [*parts, b"", b""]
    return {
        "type": "websocket" if is_socket else "http",
        "scheme": "ws" if is_socket else "http",
        "path": path,
        "query_string": query,
        "headers": [(name, value) for name, value in zip(_HEADERS, [subprotocols, *values], strict=False) if value],
        "client": ("203.0.113.7", 50_000),
    }
