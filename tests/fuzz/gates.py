"""Fuzz targets at the door: nobody comes in with a token that is not genuine, under a foreign name or from a foreign
page, and no token stays where it would be logged.

What a token has to be is worked out here once more, with nothing of the server's.
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
from server.access.policy import AccessPolicy
from server.access.responses import error_response
from server.errors import Forbidden, TokenExpired, TokenUsed
from server.settings import Settings
from tests.fuzz.parsers import pieces

KEY, TOKEN = "k" * 32, "an-operators-token"
SEED_JTI = "signed-by-the-site"  # of the only genuine tokens that a mutation can begin with
NOW = b"NOW+"  # in claims: followed by digits, so many seconds from now
_HOUR_S, _LEEWAY_S = 3600.0, 5.0


def sign(header: bytes, claims: bytes) -> str:
    """A JWT of these parts, whatever they are."""
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    return (signed + b"." + base64.urlsafe_b64encode(_signature(signed)).rstrip(b"=")).decode()


def _signature(signed: bytes) -> bytes:
    return hmac.new(KEY.encode(), signed, hashlib.sha256).digest()


def _is_genuine(text: str) -> bool:
    """It says HS256 and bears the site's signature."""
    signed, _, signature = text.encode().rpartition(b".")
    header, _, _ = signed.partition(b".")
    says = json.loads(base64.urlsafe_b64decode(header + b"=="))
    return says["alg"] == "HS256" and base64.urlsafe_b64decode(signature + b"==") == _signature(signed)


def token(data: bytes) -> None:
    """Any text, and any claims soundly signed, are a call token within its bounds and good for once, or Forbidden."""
    resumes, is_signed = bool(data[:1] > b"\x7f"), data[:1] < b"\xc0"
    text = data[1:].decode("latin-1")
    if is_signed:
        header, claims, *_ = [*pieces(data[1:]), b"", b""]
        claims = re.sub(rb"NOW\+(\d{1,9})", lambda found: str(int(time.time()) + int(found[1])).encode(), claims)
        text = sign(header, claims)
    tokens = CallTokens(KEY)
    try:
        read = tokens.read(text, resumes)
    except Forbidden as why:
        _check_refusal(why)
        return
    assert _is_genuine(text), "a token was believed that nobody signed"
    _check_claims(read, resumes)
    with tokens.use(read):
        pass
    try:
        tokens.read(text, may_resume=False)
    except Forbidden:
        return
    raise AssertionError("a token had two calls")


def _check_claims(read: CallToken, resumes: bool) -> None:
    left_s = read.exp - time.time()
    assert (resumes or left_s > -_LEEWAY_S - 1) and left_s <= _HOUR_S + _LEEWAY_S, f"{left_s} s are left"
    assert 1 <= len(read.jti) <= 128
    assert read.sub is None or 1 <= len(read.sub) <= 128
    assert read.max_call_s is None or 0 < read.max_call_s <= 1e9


def _check_refusal(why: Forbidden) -> None:
    answer = error_response(why)
    said = json.loads(bytes(answer.body))["error"]
    assert answer.status_code in (401, 403) and said["message"].endswith(".") and TOKEN not in said["message"]


_HOUSES = {
    "open": Settings(model="echo"),
    "token": Settings(model="echo", host="0.0.0.0", token=TOKEN),  # type: ignore[arg-type]
    "site": Settings(model="echo", host="0.0.0.0", token=TOKEN, call_token_key=KEY),  # type: ignore[arg-type]
    "public": Settings(model="echo", host="0.0.0.0", token=TOKEN, public=True),  # type: ignore[arg-type]
}
_PATHS = ("/api/chat", "/api/info", "/metrics", "/", "/healthz")
_HEADERS = (b"host", b"origin", b"authorization")


def door(data: bytes) -> None:
    """Whatever a request says, who comes through the door may."""
    first, second = data.ljust(2, b"\0")[:2]
    house = [*_HOUSES][first % len(_HOUSES)]
    scope = _scope(_PATHS[second % len(_PATHS)], bool(second & 0x80), pieces(data[2:]))
    shown = unquote_plus(
        b" ".join([scope["query_string"], *(value for _, value in scope["headers"])]).decode("latin-1")
    )
    shown += " ".join(scope["subprotocols"])
    policy = AccessPolicy(_HOUSES[house])  # who remembers no token
    try:
        identity = policy.identify(scope)
    except Forbidden as why:
        _check_refusal(why)
    else:
        _check_visit(house, scope, shown, identity.is_operator, identity.call_token)
        for resumes in (False, True):
            with suppress(TokenUsed, TokenExpired), policy.acquire(identity, resumes):
                pass
    assert not any(part.startswith(b"token=") for part in scope["query_string"].split(b"&")), "it would be logged"
    assert not policy._call_limiter._calls, "somebody is still counted"


def _check_visit(house: str, scope: Scope, shown: str, is_operator: bool, call_token: CallToken | None) -> None:
    path, headers = scope["path"], dict(scope["headers"])
    is_guarded = path.startswith("/api/") or scope["type"] == "websocket"
    if house != "open" and is_operator:
        assert TOKEN in shown, "without the operator's token"
    if path == "/metrics":
        assert is_operator
    if house in ("token", "site") and is_guarded and not is_operator:
        assert house == "site" and call_token and call_token.jti == SEED_JTI, "without a token"
    name = re.sub(r"[\t\r\n]", "", headers.get(b"host", b"localhost").decode("latin-1")).strip().lower() or "localhost"
    if house in ("open", "public") and path != "/healthz":
        assert re.fullmatch(_OWN_NAMES, name), f"called {name}"
    if origin := headers.get(b"origin", b"").decode("latin-1").lower():
        theirs = re.sub(r"[\t\r\n]", "", origin).partition("://")[2]
        assert theirs.partition(":")[0].strip() in name, f"from {origin}, called {name}"


_OWN_NAMES = rf"([\w.-]*\.)?localhost\.?(:\d*)?|[\d.]+(:\d*)?|\[[^\]]*\]\.?(:\d*)?|{re.escape(socket.gethostname())}.*"


def _scope(path: str, is_socket: bool, parts: list[bytes]) -> Scope:
    query, subprotocols, *values = [*parts, b"", b""]
    return {
        "type": "websocket" if is_socket else "http",
        "scheme": "ws" if is_socket else "http",
        "path": path,
        "query_string": query,
        "headers": [(name, value) for name, value in zip(_HEADERS, values, strict=False) if value],
        "client": ("203.0.113.7", 50_000),
        "subprotocols": [name.strip() for name in subprotocols.decode("latin-1").split(",")],
    }
