"""The listening socket, and how many connections it accepts.

They are counted where they are accepted, before any TLS or HTTP, so that silent connections cannot use up the
process's open files.
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

_UNREAD_TIMEOUT_S = 20.0  # a peer that reads nothing for this long is gone
_BACKLOG = 2048
_MAX_OPEN_FILES = 10_240  # macOS allows no more
_RESERVED_FILES = 128  # open for other things than connections
_SEND_BUFFER_BYTES = 65_536  # 10 s of speech: more would only hide that a client does not read
_REJECT_BATCH = 64  # connections, before other tasks get their turn
_LOG_EVERY_S = 10.0
_REJECTION = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 5\r\n"
    b'\r\n{"error":{"code":"sockets","message":"There are too many connections. Try again in a moment."}}'
)


class ConnectionLimiter:
    """Bounds the open connections, in all and from each address. Owner: the event loop."""

    def __init__(self, settings: Settings, open_files: int = _MAX_OPEN_FILES) -> None:
        self._max = min(settings.max_sockets, open_files - _RESERVED_FILES)
        self._max_each = settings.max_sockets_per_address
        self._proxies = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxy]
        self._each: Counter[str | None] = Counter()

    @property
    def open(self) -> int:
        return self._each.total()

    def acquire(self, address: str) -> str | None:
        """Count one connection from `address`; the key to release it by. Raises ConnectionAbortedError at a bound."""
        key = None if self._is_proxy(address) else client_key(address)  # None: this machine, or a proxy for many
        if self.open >= self._max or (key and self._each[key] >= self._max_each):
            raise ConnectionAbortedError("There are too many connections.")
        self._each[key] += 1
        return key

    def release(self, key: str | None) -> None:
        """The connection is closed."""
        self._each[key] -= 1
        if not self._each[key]:
            del self._each[key]

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(ip in network for network in self._proxies)


class _Accepted(socket.socket):
    """A counted connection, until it is closed."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        if self.on_close:
            self.on_close()
            self.on_close = None


class Listener(socket.socket):
    """A listening socket that accepts no more connections than its limiter allows."""

    limiter: ConnectionLimiter
    on_rejected: Callable[[], object] = staticmethod(lambda: None)
    _logged_at = float("-inf")

    def accept(self) -> tuple[socket.socket, Any]:
        """As any other, except that connections over the limit are answered 503 and closed. Raises OSError."""
        for _ in range(_REJECT_BATCH):
            connection, address = super().accept()
            try:
                key = self.limiter.acquire(address[0])
            except ConnectionAbortedError:
                self._reject(connection, address[0])
                continue
            accepted = _Accepted(fileno=connection.detach())
            accepted.on_close = partial(self.limiter.release, key)
            return accepted, address
        raise BlockingIOError  # as if no other connection waited

    def _reject(self, connection: socket.socket, peer: str) -> None:
        self.on_rejected()
        with connection:
            connection.setblocking(False)
            with suppress(OSError):
                connection.send(_REJECTION)  # a TLS client only learns that it is closed
        if (now := time.monotonic()) - self._logged_at > _LOG_EVERY_S:
            self._logged_at = now
            log.warning("connections refused: too many are open", extra={"open": self.limiter.open, "peer": peer})


def listen(host: str, port: int, limiter: ConnectionLimiter) -> Listener:
    """A bound TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, since asyncio turns Nagle's delay off only for sockets that say so.
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.limiter = limiter
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by accepted sockets: a client that stops reading is noticed, and holds no socket for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_UNREAD_TIMEOUT_S * 1000))
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def raise_open_files_limit() -> int:
    """Raise the soft limit on open files, often 1024, as far as we need and may. Returns how many may be open."""
    if sys.platform == "win32":
        return _MAX_OPEN_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MAX_OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
