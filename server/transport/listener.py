"""The listening socket, and how many connections it takes.

They are counted where they are accepted, before there is any TLS or HTTP, so that nobody holds the server's files by
coming and saying nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from server.addresses import client_key
from server.settings import Settings

log = logging.getLogger(__name__)

_UNREAD_S = 20.0  # a peer whose window stays shut for this long is gone
_BACKLOG = 2048
_OPEN_FILES = 10_240  # macOS allows no more
_OTHER_FILES = 128  # what is open beside connections
_SEND_BUFFER_BYTES = 65_536  # 10 s of speech: more would only hide that a caller does not read
_TURNED_AWAY_AT_ONCE = 64  # before the loop turns to calls again
_COMPLAIN_EVERY_S = 10.0
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 5\r\n"
    b'\r\n{"error":{"code":"sockets","message":"There are too many connections. Try again in a moment."}}'
)


class ConnectionLimiter:
    """How many connections are open, in all and from each address. Owner: the event loop."""

    def __init__(self, settings: Settings, open_files: int = _OPEN_FILES) -> None:
        self._max = min(settings.max_sockets, open_files - _OTHER_FILES)
        self._max_each = settings.max_sockets_per_address
        self._proxies = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxy]
        self._each: Counter[str | None] = Counter()

    @property
    def size(self) -> int:
        return self._each.total()

    def join(self, address: str) -> str | None:
        """One more from `address`; whom to name when it leaves. Raises ConnectionAbortedError when it may not."""
        caller = None if self._is_proxy(address) else client_key(address)  # None: this machine, or a proxy for many
        if self.size >= self._max or (caller and self._each[caller] >= self._max_each):
            raise ConnectionAbortedError("There are too many connections.")
        self._each[caller] += 1
        return caller

    def leave(self, caller: str | None) -> None:
        self._each[caller] -= 1
        if not self._each[caller]:
            del self._each[caller]

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(ip in network for network in self._proxies)


class _Accepted(socket.socket):
    """One of a crowd, until it is closed."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        if self.on_close:
            self.on_close()
            self.on_close = None


class Listener(socket.socket):
    """A listening socket that takes no more connections than its crowd may have."""

    crowd: ConnectionLimiter
    on_turned_away: Callable[[], object] = staticmethod(lambda: None)
    _complained_at = float("-inf")

    def accept(self) -> tuple[socket.socket, Any]:
        """As any other, but who is too many hears so and is hung up on. Raises OSError."""
        for _ in range(_TURNED_AWAY_AT_ONCE):
            connection, address = super().accept()
            try:
                caller = self.crowd.join(address[0])
            except ConnectionAbortedError:
                self._turn_away(connection, address[0])
                continue
            accepted = _Accepted(fileno=connection.detach())
            accepted.on_close = partial(self.crowd.leave, caller)
            return accepted, address
        raise BlockingIOError  # as if there were nobody else

    def _turn_away(self, connection: socket.socket, peer: str) -> None:
        self.on_turned_away()
        with connection:
            connection.setblocking(False)
            with suppress(OSError):
                connection.send(_TOO_MANY)  # who speaks TLS will not understand, but that it is over
        if (now := time.monotonic()) - self._complained_at > _COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning("connections turned away", extra={"open": self.crowd.size, "peer": peer})


def listen(host: str, port: int, crowd: ConnectionLimiter) -> Listener:
    """A bound TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, since asyncio turns Nagle's delay off only for sockets that say so.
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.crowd = crowd
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by accepted sockets: a caller who stops reading is noticed, and holds no socket for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_UNREAD_S * 1000))
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def allow_many_sockets() -> int:
    """Raise the soft limit on open files, often 1024, as far as we need and may. Returns how many may be open."""
    if sys.platform == "win32":
        return _OPEN_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
