"""Which host names this server accepts, and from which sites' pages.

A page of any site may send requests to a server on its visitor's own machine. Browsers say which site sent them
(`Origin`), unless a name of that site was made to point here (DNS rebinding): then they send that name (`Host`).
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
    """The host names that a server without a token accepts: its own, every IP address, and those the operator adds."""

    def __init__(self, listened_on: str, allowed: Iterable[str]) -> None:
        """`allowed`: names, with `*` for any part of one."""
        self._patterns = [listened_on.lower(), socket.gethostname().lower(), *(name.lower() for name in allowed)]

    def check(self, host: str | None) -> None:
        """Raises HostNotAllowed. A request without a Host header does not come from a browser, and passes."""
        name = _split("//" + (host or "localhost")).hostname or ""
        name = name.removesuffix(".")
        if is_ip_address(name) or is_local(name) or any(fnmatchcase(name, pattern) for pattern in self._patterns):
            return
        raise HostNotAllowed("Host header not allowed. The operator can add it with --allowed-host.")


class OriginPolicy:
    """Whose pages may send requests: the server's own, and those of sites that the operator adds."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {origin.lower() for origin in allowed}

    def check(self, origin: str | None, host: str | None, scheme: str) -> None:
        """`scheme`: that of the request. Raises OriginNotAllowed."""
        if origin is None or ANY in self._allowed or origin.lower() in self._allowed:
            return
        theirs = _split(origin)
        ours = _split(f"//{host or ''}")
        is_downgrade = scheme in ("https", "wss") and theirs.scheme != "https"
        # A proxy may terminate TLS without saying so: then the schemes differ, and the host alone decides.
        if theirs.scheme in ("http", "https") and not is_downgrade:
            default = _DEFAULT_PORTS[theirs.scheme]
            if theirs.hostname and (theirs.hostname, theirs.port or default) == (ours.hostname, ours.port or default):
                return
        raise OriginNotAllowed(
            "Origin not allowed: the request comes from a page of another site. The operator can add the site with "
            "--allowed-origin. A proxy in front has to pass the Host header on."
        )


def _split(address: str) -> SplitResult:
    """The parts of `scheme://host:port` or `//host:port`. Anything else has no host name."""
    empty = urlsplit("")
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises when there can be no such port
    except ValueError:
        return empty
    is_plain = "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment)
    return parts if is_plain else empty
