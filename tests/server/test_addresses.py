"""Which addresses count as one client."""

from __future__ import annotations

import pytest

from server.addresses import client_key, is_in, is_local, networks


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("unknown", "another name"),
    ],
)
def test_addresses_of_one_client_have_one_key(one: str, other: str):
    assert client_key(one) == client_key(other) is not None


@pytest.mark.parametrize(("one", "other"), [("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8:0:1::1")])
def test_addresses_of_two_clients_have_two_keys(one: str, other: str):
    assert client_key(one) != client_key(other)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_has_no_key_however_it_is_written(address: str):
    assert client_key(address) is None and is_local(address)


def test_proxy_is_trusted_however_its_address_is_written():
    proxies = networks(["10.0.0.0/8", "::1"])
    assert is_in("10.1.2.3", proxies) and is_in("::ffff:10.1.2.3", proxies) and is_in("::1", proxies)
    assert not is_in("11.1.2.3", proxies) and not is_in("proxy", proxies)
