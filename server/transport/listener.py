"""The listening socket, and a limit on its open connections.

Connections are counted when they are accepted, before TLS and HTTP, so that silent connections cannot use up the
process's open files.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from server.addresses import client_key, is_in, networks
from server.settings import Settings

log = logging.getLogger(__name__)

_UNREAD_TIMEOUT_S = 20.0  # after which the kernel closes a connection whose peer acknowledges nothing
_BACKLOG = 2048
_MAX_OPEN_FILES = 10_240  # the most that macOS allows
_RESERVED_FILES = 128  # open files that are not connections
_SEND_BUFFER_BYTES = 65_536  # 10 s of speech; more would hide that a client does not read
_REJECT_BATCH = 64  # connections rejected before other tasks run
_LOG_EVERY_S = 10.0
_REJECTION = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b'\r\n{"error":{"code":"sockets","message":"Too many connections are open. Try again in a moment."}}'
)


class ConnectionLimiter:
    """Limits the open connections, in total and from each address. Owner: the event loop."""

    def __init__(self, settings: Settings, open_files: int = _MAX_OPEN_FILES) -> None:
        self._max = min(settings.max_sockets, open_files - _RESERVED_FILES)
        self._max_each = settings.max_sockets_per_address
        self._proxies = networks(settings.trusted_proxy)
        self._each: Counter[str | None] = Counter()

    @property
    def open(self) -> int:
        return self._each.total()

    def acquire(self, address: str) -> str | None:
        """Count a connection from `address`; return the key to release it. Raises ConnectionAbortedError at a limit."""
        key = None if is_in(address, self._proxies) else client_key(address)  # None: not limited by address
        if self.open >= self._max or (key and self._each[key] >= self._max_each):
            raise ConnectionAbortedError("Too many connections.")
        self._each[key] += 1
        return key

    def release(self, key: str | None) -> None:
        """Stop counting a connection that was closed."""
        self._each[key] -= 1
        if not self._each[key]:
            del self._each[key]


class _Accepted(socket.socket):
    """An accepted connection, which reports that it is closed."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        if self.on_close:
            self.on_close()
            self.on_close = None


class Listener(socket.socket):
    """A listening socket that accepts as many connections as its limiter allows."""

    limiter: ConnectionLimiter
    on_rejected: Callable[[], object] = staticmethod(lambda: None)
    _logged_at = float("-inf")

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Connections over the limit are answered with HTTP 503 and closed. Raises OSError."""
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
        raise BlockingIOError  # as if no other connection were waiting

    def _reject(self, connection: socket.socket, peer: str) -> None:
        self.on_rejected()
        with connection:
            connection.setblocking(False)
            with suppress(OSError):
                connection.send(_REJECTION)  # a TLS client only sees the connection close
        if (now := time.monotonic()) - self._logged_at > _LOG_EVERY_S:
            self._logged_at = now
            log.warning("connections refused: too many are open", extra={"open": self.limiter.open, "peer": peer})


def listen(host: str, port: int, limiter: ConnectionLimiter) -> Listener:
    """Open a TCP socket that listens on `host` and `port`. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # IPPROTO_TCP is explicit, because asyncio sets TCP_NODELAY only on sockets that name it.
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.limiter = limiter
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit both options: a client that stops reading is noticed and then disconnected.
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
    """Raise the soft limit of open files, often 1024, to 10,240 or the hard limit. Returns how many may be open."""
    if sys.platform == "win32":
        return _MAX_OPEN_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MAX_OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
