from __future__ import annotations

import socket

import pytest

from server.access.hosts import HostPolicy, OriginPolicy, is_local
from server.errors import HostNotAllowed, OriginNotAllowed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "talk.localhost"])
def test_these_are_this_machine_alone(host: str):
    assert is_local(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", ""])
def test_these_can_be_reached_by_others(host: str):
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
        "192.168.1.2:8998",  # nobody can make an address point elsewhere
        "[::1]:8998",
        "gpu.example.org:8998",  # listened on by this name
        socket.gethostname(),
        "talk.example.com",
        "a.b.example.net",
    ],
)
def test_a_server_answers_to_its_own_names(host: str | None):
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
def test_it_answers_to_no_other(host: str):
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
        ("https://talk.example.com", "talk.example.com", "ws"),  # TLS ends at a proxy that does not say so
        ("http://[::1]:8998", "[::1]:8998", "http"),
        ("https://shop.example", "talk.example.com", "wss"),  # allowed
    ],
)
def test_the_own_page_and_allowed_ones_may_call(origin: str | None, host: str, scheme: str):
    OriginPolicy(["https://shop.example"]).check(origin, host, scheme)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://evil.test", "127.0.0.1:8998", "ws"),
        ("null", "127.0.0.1:8998", "ws"),
        ("", "127.0.0.1:8998", "ws"),
        ("http://127.0.0.1:9000", "127.0.0.1:8998", "ws"),  # another server on the same machine
        ("http://localhost:8998", "127.0.0.1:8998", "ws"),
        ("http://talk.example.com", "talk.example.com", "wss"),  # whoever is between may have written that page
        ("http://shop.example", "talk.example.com", "ws"),
        ("https://shop.example.evil.test", "talk.example.com", "wss"),
        ("chrome-extension://abc", "127.0.0.1:8998", "ws"),
        ("http://", None, "ws"),
        ("http://[", "[", "ws"),
        ("http://a:99999", "a:99999", "ws"),
    ],
)
def test_a_page_of_another_site_may_not(origin: str, host: str | None, scheme: str):
    with pytest.raises(OriginNotAllowed, match="--allowed-origin"):
        OriginPolicy(["https://shop.example"]).check(origin, host, scheme)


def test_every_site_may_where_the_operator_says_so():
    OriginPolicy(["*"]).check("https://anything.test", "127.0.0.1:8998", "ws")
