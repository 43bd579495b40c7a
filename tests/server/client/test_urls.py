from __future__ import annotations

import pytest

from server.client.urls import chat_url, resume_url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8998", "ws://localhost:8998/api/chat"),
        ("https://talk.example/", "wss://talk.example/api/chat"),
        ("ws://[::1]:1/api/chat", "ws://[::1]:1/api/chat"),
        ("http://a/b?text_seed=1", "ws://a/b/api/chat?text_seed=1"),
    ],
)
def test_chat_url_adds_the_path_and_keeps_the_query(given: str, url: str) -> None:
    assert chat_url(given) == url


@pytest.mark.parametrize("given", ["localhost:8998", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_chat_url_rejects_what_is_not_an_address(given: str) -> None:
    with pytest.raises(ValueError, match="address"):
        chat_url(given)


def test_resume_url_adds_the_token_to_the_query() -> None:
    assert resume_url("ws://a/api/chat", "t&1") == "ws://a/api/chat?resume=t%261"
    assert resume_url("ws://a/api/chat?events=1", "t") == "ws://a/api/chat?events=1&resume=t"
    assert resume_url("ws://a/api/chat?events=1", None) == "ws://a/api/chat?events=1"
