"""Who is counted behind proxies, by what they and the client wrote into X-Forwarded-For."""

from __future__ import annotations

import pytest
from starlette.types import Scope

from server.access.forwarded import TrustedProxies
from server.errors import ForwardedInvalid

PROXIES = TrustedProxies(["127.0.0.1", "::1", "10.0.0.0/8"])


def scope(peer: str, *forwarded: str, proto: str = "") -> Scope:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    if proto:
        headers.append((b"x-forwarded-proto", proto.encode()))
    return {"type": "http", "scheme": "http", "client": (peer, 1234), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "key"),
    [
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
        ("127.0.0.1", [], None),
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        ("127.0.0.1", ["127.0.0.1", "203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["nonsense, 203.0.113.7:4711"], "203.0.113.7"),
        ("127.0.0.1", ["[2001:db8::1]:443"], "2001:db8::/64"),
        ("127.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["127.0.0.1, 10.1.2.3, 10.0.0.1"], "10.1.2.3"),
        ("10.0.0.1", ["127.0.0.1"], "10.0.0.1"),
        ("10.0.0.1", ["127.0.0.2"], "10.0.0.1"),
        ("127.0.0.1", ["127.0.0.1"], "loopback behind a proxy"),
        ("127.0.0.1", ["127.0.0.2"], "loopback behind a proxy"),
        ("127.0.0.1", ["::ffff:127.0.0.1"], "loopback behind a proxy"),
    ],
)
def test_client_is_the_last_hop_that_is_no_proxy(peer: str, forwarded: list[str], key: str | None):
    assert PROXIES.resolve(scope(peer, *forwarded)) == key


@pytest.mark.parametrize(
    "hop", ["unknown", "localhost", "203.0.113.7.8", "203.0.113.7, _hidden", "[::1", "1:2:3", "\xa0"]
)
def test_client_that_is_no_address_is_refused(hop: str):
    with pytest.raises(ForwardedInvalid):
        PROXIES.resolve(scope("127.0.0.1", hop))


@pytest.mark.parametrize(("proto", "scheme"), [("https", "https"), ("wss", "https"), ("gopher", "http"), ("", "http")])
def test_scheme_is_the_one_that_the_proxy_names(proto: str, scheme: str):
    asked = scope("127.0.0.1", "203.0.113.7", proto=proto)
    PROXIES.resolve(asked)
    assert (asked["scheme"], asked["client"][0]) == (scheme, "203.0.113.7")


def test_nothing_that_an_untrusted_peer_writes_is_believed():
    asked = scope("192.0.2.1", "203.0.113.7", proto="https")
    PROXIES.resolve(asked)
    assert (asked["scheme"], asked["client"]) == ("http", ("192.0.2.1", 1234))
