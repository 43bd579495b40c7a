"""Host and Origin headers: which ones a server without a token accepts."""

from __future__ import annotations

import socket

import pytest

from server.access.hosts import HostPolicy, OriginPolicy, is_local
from server.errors import HostNotAllowed, OriginNotAllowed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "talk.localhost"])
def test_is_local_for_loopback_hosts(host: str):
    assert is_local(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", ""])
def test_is_local_is_false_for_other_hosts(host: str):
    assert not is_local(host)


@pytest.mark.parametrize(
    "host",
    [
        None,  # HTTP/1.0
        "localhost",
        "LOCALHOST:8998",
        "localhost.:8998",
        "parley.localhost",
        "127.0.0.1:8998",
        "192.168.1.2:8998",  # DNS rebinding needs a name, not an address
        "[::1]:8998",
        "gpu.example.org:8998",  # the --host of the server
        socket.gethostname(),
        "talk.example.com",
        "a.b.example.net",
    ],
)
def test_host_policy_accepts_own_and_allowed_names(host: str | None):
    HostPolicy("gpu.example.org", ["talk.example.com", "*.example.net"]).check(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:8998",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "xexample.net",
        " ",
        "a:b:c",
        "[::1",
        "evil.test@localhost",
        "localhost/evil.test:99999",
        "localhost:99999",
        "\0",
    ],
)
def test_host_policy_refuses_other_names(host: str):
    names = HostPolicy("127.0.0.1", ["*.example.net"])
    with pytest.raises(HostNotAllowed, match="--allowed-host"):
        names.check(host)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (None, "127.0.0.1:8998", "ws"),
        ("http://127.0.0.1:8998", "127.0.0.1:8998", "ws"),
        ("http://Localhost:8998", "localhost:8998", "ws"),
        ("https://talk.example.com", "talk.example.com", "wss"),
        ("https://talk.example.com", "talk.example.com:443", "wss"),
        (
            "https://talk.example.com",
            "talk.example.com",
            "ws",
        ),  # behind a TLS proxy that does not send X-Forwarded-Proto
        ("http://[::1]:8998", "[::1]:8998", "http"),
        ("https://shop.example", "talk.example.com", "wss"),  # allowed
    ],
)
def test_origin_policy_accepts_the_own_page_and_allowed_sites(origin: str | None, host: str, scheme: str):
    OriginPolicy(["https://shop.example"]).check(origin, host, scheme)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://evil.test", "127.0.0.1:8998", "ws"),
        ("null", "127.0.0.1:8998", "ws"),
        ("", "127.0.0.1:8998", "ws"),
        ("http://127.0.0.1:9000", "127.0.0.1:8998", "ws"),  # another server on the same machine
        ("http://localhost:8998", "127.0.0.1:8998", "ws"),
        (
            "http://talk.example.com",
            "talk.example.com",
            "wss",
        ),  # a page without TLS may come from an attacker on the network
        ("http://shop.example", "talk.example.com", "ws"),
        ("https://shop.example.evil.test", "talk.example.com", "wss"),
        ("chrome-extension://abc", "127.0.0.1:8998", "ws"),
        ("http://", None, "ws"),
        ("http://[", "[", "ws"),
        ("http://a:99999", "a:99999", "ws"),
    ],
)
def test_origin_policy_refuses_other_sites(origin: str, host: str | None, scheme: str):
    with pytest.raises(OriginNotAllowed, match="--allowed-origin"):
        OriginPolicy(["https://shop.example"]).check(origin, host, scheme)


def test_origin_policy_accepts_every_site_with_a_wildcard():
    OriginPolicy(["*"]).check("https://anything.test", "127.0.0.1:8998", "ws")
