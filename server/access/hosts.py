"""By which names this server is reached, and from which sites' pages.

A page from anywhere may send requests to a server on its reader's own machine. Browsers say which site sent them
(`Origin`), unless a name of that site was made to point here (DNS rebinding): then they say that name (`Host`).
Clients other than browsers send no Origin.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from server.addresses import is_ip_address, is_local
from server.errors import HostNotAllowed, OriginNotAllowed

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class HostPolicy:
    """The names that an open server answers to: its own, every address, and those that the operator adds."""

    def __init__(self, listened_on: str, allowed: Iterable[str]) -> None:
        """`allowed`: names, with `*` for any part of one."""
        self._patterns = [listened_on.lower(), socket.gethostname().lower(), *(name.lower() for name in allowed)]

    def check(self, host: str | None) -> None:
        """Raises HostNotAllowed. Who names no host is no browser."""
        name = _split("//" + (host or "localhost")).hostname or ""
        name = name.removesuffix(".")
        if is_ip_address(name) or is_local(name) or any(fnmatchcase(name, pattern) for pattern in self._patterns):
            return
        raise HostNotAllowed(
            "This server does not answer to that name. If it is one of its own, its operator can say so with "
            "--allowed-host."
        )


class OriginPolicy:
    """Whose pages may call: the server's own, and those of sites that the operator adds."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {origin.lower() for origin in allowed}

    def check(self, origin: str | None, host: str | None, scheme: str) -> None:
        """`scheme`: that of the request. Raises OriginNotAllowed."""
        if origin is None or ANY in self._allowed or origin.lower() in self._allowed:
            return
        theirs = _split(origin)
        ours = _split(f"//{host or ''}")
        is_downgrade = scheme in ("https", "wss") and theirs.scheme != "https"
        # A proxy may speak TLS for us without saying so: then only its address tells.
        if theirs.scheme in ("http", "https") and not is_downgrade:
            default = _DEFAULT_PORTS[theirs.scheme]
            if theirs.hostname and (theirs.hostname, theirs.port or default) == (ours.hostname, ours.port or default):
                return
        raise OriginNotAllowed(
            "Pages of other sites may not call here. If that one should, the operator can say so with "
            "--allowed-origin; a proxy in front must pass the Host header on."
        )


def _split(address: str) -> SplitResult:
    """`scheme://host:port` or `//host:port` in its parts. What is anything else has no host name."""
    nobody = urlsplit("")
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises when there can be no such port
    except ValueError:
        return nobody
    is_plain = "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment)
    return parts if is_plain else nobody
