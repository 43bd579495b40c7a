"""Who stands in the door, as far as that can be known."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from server.doors.call_tokens import CallToken

_IPV6_SITE_BITS = 64  # one household or machine may use every address of such a network
_LONGEST_NAME = 64  # of what a proxy says in an address's place


@dataclass(frozen=True, slots=True)
class Visitor:
    """One request's sender."""

    is_operator: bool  # showed the operator's token, or none is needed for anything
    wants_events: bool
    resumes: bool  # the call that they want goes on, or there is none: a used token will do for that
    caller: str | None  # whose calls are counted together; None: nobody's
    call_token: CallToken | None = None

    @property
    def max_call_s(self) -> float | None:
        """What this visitor's token says on the length of their call."""
        return self.call_token.max_call_s if self.call_token else None


def caller_at(address: str) -> str | None:
    """Whose calls come from `address`: that address, its IPv6 network, or None for this machine itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_LONGEST_NAME]
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return None
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, _IPV6_SITE_BITS), strict=False))
    return str(ip)
