"""IP addresses and host names: which of them are local, and which count as one client."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_SITE_BITS = 64  # one household or machine may use all addresses of a /64
_NO_ADDRESS = "no address"  # counted as one client


def parse_address(text: str) -> Address | None:
    """The address, without a zone, and IPv4 where IPv6 only wraps it (`::ffff:1.2.3.4`); None: it is none."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def networks(texts: Iterable[str]) -> list[Network]:
    """Networks and single addresses, such as `10.0.0.0/8` and `::1`. Raises ValueError."""
    return [ipaddress.ip_network(text) for text in texts]


def is_in(address: str, among: Sequence[Network]) -> bool:
    """True for an address of one of these networks, whether it is written as IPv4 or as IPv6."""
    ip = parse_address(address)
    return ip is not None and any(ip in network for network in among)


def is_ip_address(host: str) -> bool:
    """True for an IPv4 or IPv6 address, without brackets or a port."""
    return parse_address(host) is not None


def is_local(host: str) -> bool:
    """True for localhost, its subdomains and loopback addresses, which no other machine can reach."""
    host = host.removeprefix("[").removesuffix("]")
    ip = parse_address(host)
    return ip.is_loopback if ip else host == "localhost" or host.endswith(".localhost")


def client_key(address: str) -> str | None:
    """What counts as one client: an IPv4 address or an IPv6 /64 network; None for loopback."""
    ip = parse_address(address)
    if ip is None:
        return _NO_ADDRESS
    if ip.is_loopback:
        return None
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, _IPV6_SITE_BITS), strict=False))
    return str(ip)
