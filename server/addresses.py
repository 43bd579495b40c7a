"""IP addresses and host names: which of them are local, and which count as one client."""

from __future__ import annotations

import ipaddress

_IPV6_SITE_BITS = 64  # one household or machine may use all addresses of a /64
_MAX_NAME_CHARS = 64  # of a name that a proxy sends instead of an address


def is_ip_address(host: str) -> bool:
    """True for an IPv4 or IPv6 address, without brackets or a port."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """True for localhost, its subdomains and loopback addresses, which no other machine can reach."""
    host = host.removeprefix("[").removesuffix("]")
    if is_ip_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def client_key(address: str) -> str | None:
    """What counts as one client: an IPv4 address or an IPv6 /64 network; None for loopback."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_NAME_CHARS]
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return None
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, _IPV6_SITE_BITS), strict=False))
    return str(ip)
