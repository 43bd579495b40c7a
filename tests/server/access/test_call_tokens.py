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
    """A token with these claims; None leaves one out."""
    claims = {"jti": str(uuid.uuid4()), "exp": time.time() + 60, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def test_a_genuine_token_says_what_it_allows():
    token = CallTokens(KEY).read(minted(jti="a", sub="ann", max_call_s=90, more="ignored"), may_resume=False)
    assert (token.jti, token.sub, token.max_call_s) == ("a", "ann", 90)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned() -> str:
    return f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment({'jti': 'a', 'exp': time.time() + 60})}."


NESTED = base64.urlsafe_b64encode(b"[" * 30_000).decode()
# Made when they are tried, or they would have expired.
WRONG: dict[str, Callable[[], str]] = {
    "another key": lambda: minted("x" * 32),
    "another algorithm": lambda: minted("k" * 64, "HS512"),
    "not signed": unsigned,
    "no name": lambda: minted(jti=None),
    "no end": lambda: minted(exp=None),
    "an empty name": lambda: minted(jti=""),
    "a name that is a number": lambda: minted(jti=7),
    "a name without end": lambda: minted(jti="a" * 10_000),
    "a whole day": lambda: minted(exp=time.time() + 86_400),
    "no number": lambda: minted(exp="soon"),
    "a length below zero": lambda: minted(max_call_s=-1),
    "a length that is none": lambda: minted(max_call_s="long"),
    "for somebody else": lambda: minted(aud="another service"),
    "nonsense": lambda: "a.b.c",
    "nested": lambda: f"{NESTED}.{NESTED}.{NESTED}",
    "no ASCII": lambda: "ä.ö.ü",
    "nothing": lambda: "",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_token_that_is_not_right_is_refused(case: str):
    for resumes in (False, True):
        with pytest.raises(TokenInvalid):
            CallTokens(KEY).read(WRONG[case](), resumes)


def test_a_cut_or_changed_token_is_refused():
    token = minted()
    head, _, signature = token.split(".")
    longer = segment({"jti": "a", "exp": time.time() + 60, "max_call_s": 1e8})
    for forged in (token[:-4], f"{head}.{longer}.{signature}", f"{head}..{signature}"):
        with pytest.raises(TokenInvalid):
            CallTokens(KEY).read(forged, may_resume=False)


def test_an_expired_token_only_opens_the_door_for_a_call_that_goes_on():
    tokens, token = CallTokens(KEY), minted(jti="old", exp=time.time() - 60)
    with pytest.raises(TokenExpired):
        tokens.read(token, may_resume=False)
    assert tokens.read(token, may_resume=True).jti == "old"


def test_a_token_is_good_for_one_call():
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


def test_who_was_refused_may_try_again():
    tokens, text = CallTokens(KEY), minted()
    with pytest.raises(ServerFull), tokens.use(tokens.read(text, may_resume=False)):
        raise ServerFull("All lines are busy.")
    tokens.read(text, may_resume=False)


def test_used_tokens_are_forgotten_once_they_have_expired(monkeypatch: pytest.MonkeyPatch):
    tokens, now = CallTokens(KEY), time.time()
    for i in range(5000):
        monkeypatch.setattr(call_tokens.time, "time", lambda i=i: now + i)
        with tokens.use(call_tokens.CallToken(jti=str(i), exp=now + i + 60)):
            pass
    assert len(tokens._used) < 2000


def test_what_the_documentation_shows_is_a_token(monkeypatch: pytest.MonkeyPatch):
    document = (Path(__file__).parents[3] / "SECURITY.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    monkeypatch.setenv("KEY", KEY)
    names: dict[str, Any] = {}
    exec(example, names)
    token = CallTokens(KEY).read(names["token"], may_resume=False)
    assert (token.sub, token.max_call_s) == ("visitor-17", 300)
