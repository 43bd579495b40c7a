"""Who sends a request that came through proxies: read from `X-Forwarded-For`, which anybody can write.

Each proxy appends the address that it was called from. So the last address that is not a trusted proxy's is the
client's, and what stands before it is whatever the client wrote.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import Scope

from server.addresses import client_key, is_in, is_ip_address, is_local, networks
from server.errors import ForwardedInvalid

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}  # as proxies say it, and of a WebSocket
_BLANKS = " \t"  # around a hop, RFC 9110 §5.6.3
_LOOPBACK_BEHIND_PROXY = "loopback behind a proxy"


class TrustedProxies:
    """The proxies whose `X-Forwarded-*` headers are believed."""

    def __init__(self, proxies: Iterable[str]) -> None:
        self._networks = networks(proxies)

    def resolve(self, scope: Scope) -> str | None:
        """What the client counts under, or None on this machine; puts its address and scheme into `scope`.

        Raises ForwardedInvalid.
        """
        peer = scope["client"][0] if scope.get("client") else ""
        if not is_in(peer, self._networks):
            return client_key(peer)
        headers = Headers(scope=scope)
        scheme = headers.get("x-forwarded-proto", "").strip()
        if scheme in _SCHEMES:
            is_socket = scope["type"] == "websocket"
            scope["scheme"] = _SCHEMES[scheme] if is_socket else scheme.replace("ws", "http")
        lines = headers.getlist("x-forwarded-for")
        hops = [hop.strip(_BLANKS) for line in lines for hop in line.split(",") if hop.strip(_BLANKS)]
        if not hops:
            return client_key(peer)
        address, port = self._client(hops)
        if is_local(address):  # of a proxy's own machine, or written by a client: no reason not to count it
            return client_key(peer) or _LOOPBACK_BEHIND_PROXY
        scope["client"] = (address, port)
        return client_key(address)

    def _client(self, hops: list[str]) -> tuple[str, int]:
        """The last hop that is not trusted; if all are, the first that is not loopback, or the first of all."""
        trusted: list[tuple[str, int]] = []
        for hop in reversed(hops):
            address, port = _split_port(hop)
            if not is_ip_address(address):
                raise ForwardedInvalid("The X-Forwarded-For header names a client that is not an IP address.")
            if not is_local(address) and not is_in(address, self._networks):
                return address, port
            trusted.insert(0, (address, port))
        return next((hop for hop in trusted if not is_local(hop[0])), trusted[0])


def _split_port(hop: str) -> tuple[str, int]:
    """The address and the port, 0 where there is none, of `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5`."""
    if hop.startswith("[") and "]" in hop:
        address, _, port = hop[1:].partition("]")
        port = port.removeprefix(":")
    elif hop.count(":") == 1:
        address, _, port = hop.partition(":")
    else:
        return hop, 0
    is_port = port.isascii() and port.isdigit() and len(port) <= 5
    return address, int(port) if is_port else 0
