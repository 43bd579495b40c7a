"""Call tokens: which ones are valid, for what, and how often."""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from server.access import call_tokens
from server.access.call_tokens import CallTokens
from server.errors import ServerFull, TokenExpired, TokenInvalid, TokenUsed

KEY = "k" * 32


def minted(key: str = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    """A token with these claims. A claim that is None is left out."""
    claims = {"jti": str(uuid.uuid4()), "exp": time.time() + 60, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def test_valid_token_has_the_signed_claims():
    token = CallTokens(KEY).read(minted(jti="a", sub="ann", max_call_s=90, more="ignored"), may_resume=False)
    assert (token.jti, token.sub, token.max_call_s) == ("a", "ann", 90)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned() -> str:
    return f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment({'jti': 'a', 'exp': time.time() + 60})}."


NESTED = base64.urlsafe_b64encode(b"[" * 30_000).decode()
# Functions, so that a token is made when it is tried and has not expired.
INVALID: dict[str, Callable[[], str]] = {
    "another key": lambda: minted("x" * 32),
    "another algorithm": lambda: minted("k" * 64, "HS512"),
    "not signed": unsigned,
    "no jti": lambda: minted(jti=None),
    "no exp": lambda: minted(exp=None),
    "an empty jti": lambda: minted(jti=""),
    "a jti that is a number": lambda: minted(jti=7),
    "a jti of 10,000 characters": lambda: minted(jti="a" * 10_000),
    "an exp a day ahead": lambda: minted(exp=time.time() + 86_400),
    "an exp that is not a number": lambda: minted(exp="soon"),
    "a negative max_call_s": lambda: minted(max_call_s=-1),
    "a max_call_s that is not a number": lambda: minted(max_call_s="long"),
    "an audience": lambda: minted(aud="another service"),
    "not a JWT": lambda: "a.b.c",
    "deeply nested JSON": lambda: f"{NESTED}.{NESTED}.{NESTED}",
    "not ASCII": lambda: "ä.ö.ü",
    "empty": lambda: "",
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_token_is_refused(case: str):
    for resumes in (False, True):
        with pytest.raises(TokenInvalid):
            CallTokens(KEY).read(INVALID[case](), resumes)


def test_truncated_or_altered_token_is_refused():
    token = minted()
    head, _, signature = token.split(".")
    longer = segment({"jti": "a", "exp": time.time() + 60, "max_call_s": 1e8})
    for forged in (token[:-4], f"{head}.{longer}.{signature}", f"{head}..{signature}"):
        with pytest.raises(TokenInvalid):
            CallTokens(KEY).read(forged, may_resume=False)


def test_expired_token_is_valid_for_resuming_only():
    tokens, token = CallTokens(KEY), minted(jti="old", exp=time.time() - 60)
    with pytest.raises(TokenExpired):
        tokens.read(token, may_resume=False)
    assert tokens.read(token, may_resume=True).jti == "old"


def test_token_is_valid_for_one_call():
    tokens, text = CallTokens(KEY), minted()
    token = tokens.read(text, may_resume=False)
    with tokens.use(token):
        with pytest.raises(TokenUsed):
            tokens.read(text, may_resume=False)
        with pytest.raises(TokenUsed), tokens.use(token):
            pass
    with pytest.raises(TokenUsed):
        tokens.read(text, may_resume=False)
    assert tokens.read(text, may_resume=True) == token
    assert tokens.read(minted(), may_resume=False)


def test_token_of_a_refused_call_remains_valid():
    tokens, text = CallTokens(KEY), minted()
    with pytest.raises(ServerFull), tokens.use(tokens.read(text, may_resume=False)):
        raise ServerFull("All slots are in use.")
    tokens.read(text, may_resume=False)


def test_used_tokens_are_removed_after_they_expire(monkeypatch: pytest.MonkeyPatch):
    tokens, now = CallTokens(KEY), time.time()
    for i in range(5000):
        monkeypatch.setattr(call_tokens.time, "time", lambda i=i: now + i)
        with tokens.use(call_tokens.CallToken(jti=str(i), exp=now + i + 60)):
            pass
    assert len(tokens._used) < 2000


def test_example_in_security_md_is_a_valid_token(monkeypatch: pytest.MonkeyPatch):
    document = (Path(__file__).parents[3] / "SECURITY.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    monkeypatch.setenv("KEY", KEY)
    names: dict[str, Any] = {}
    exec(example, names)
    token = CallTokens(KEY).read(names["token"], may_resume=False)
    assert (token.sub, token.max_call_s) == ("visitor-17", 300)
