"""Addresses of `/api/chat`."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit, urlunsplit

_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def chat_url(text: str) -> str:
    """The WebSocket address of /api/chat for `http://HOST:PORT`, with or without that path. Raises ValueError."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when it is not a port number
    except ValueError as error:
        raise ValueError(f"{text!r} is not a valid address: {error}") from error
    scheme = _WEBSOCKET_SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{text!r} is not an address such as http://localhost:8998")
    path = parts.path.rstrip("/").removesuffix("/api/chat") + "/api/chat"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def resume_url(url: str, token: str | None) -> str:
    """`url` with the token that resumes a call; unchanged without one, which starts another call."""
    if token is None:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, urlencode({"resume": token})]))))
