"""The page's static files: read and compressed once, then served from memory.

Browsers revalidate them each time, so that no update mixes with old files; a changed file needs a new start.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from server.access.levels import Access

_MIN_GZIP_BYTES = 500
_CHUNK_BYTES = 65_536  # sent at a time, so that a slow client's file does not wait in memory as a whole
_MEDIA_TYPES = {
    # Some systems' tables map scripts to text/plain, and browsers refuse such modules.
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}

_RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One encoding of a file, and the headers of its response."""

    body: bytes
    etag: bytes
    headers: Sequence[tuple[bytes, bytes]]

    @classmethod
    def of(cls, body: bytes, media_type: str, encoding: str = "") -> Variant:
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode()
        headers: _RawHeaders = [
            (b"etag", etag),
            (b"cache-control", b"no-cache"),
            (b"vary", b"Accept-Encoding"),
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        return cls(body, etag, [*headers, (b"content-encoding", encoding.encode())] if encoding else headers)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file as it is, and compressed where that saves something."""

    plain: Variant
    compressed: Variant

    @classmethod
    def read(cls, path: Path) -> PageFile:
        """Raises OSError."""
        body, media_type = path.read_bytes(), _media_type(path)
        plain = Variant.of(body, media_type)
        if len(body) < _MIN_GZIP_BYTES or len(packed := gzip.compress(body, mtime=0)) > 0.9 * len(body):
            return cls(plain, plain)
        return cls(plain, Variant.of(packed, media_type, "gzip"))


class PageRoute(BaseRoute):
    """Answers for the files that were in a directory at the start, and for no other path."""

    access = Access.PAGE

    def __init__(self, directory: Path) -> None:
        paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
        self._paths = {f"/{path.relative_to(directory).as_posix()}": path for path in paths}
        if "/index.html" in self._paths:
            self._paths["/"] = self._paths["/index.html"]
        self._files: dict[Path, asyncio.Task[PageFile]] = {}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["path"] not in self._paths:
            return Match.NONE, {}
        return (Match.FULL if scope["method"] in ("GET", "HEAD") else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, [(b"allow", b"GET, HEAD"), (b"content-length", b"0")], b"")
            return
        file = await self._load(self._paths[scope["path"]])
        asked = dict(scope["headers"])
        variant = file.compressed if _accepts_gzip(asked.get(b"accept-encoding", b"")) else file.plain
        if _holds(variant.etag, asked.get(b"if-none-match", b"")):
            await _respond(send, 304, variant.headers[:3], b"")
        else:
            await _respond(send, 200, variant.headers, b"" if scope["method"] == "HEAD" else variant.body)

    async def _load(self, path: Path) -> PageFile:
        """Read and compress on another thread, once for all who ask. Raises OSError."""
        task = self._files.get(path)
        if task is None or (task.done() and task.exception()):
            task = self._files[path] = asyncio.create_task(asyncio.to_thread(PageFile.read, path))
        return task.result() if task.done() else await asyncio.shield(task)


async def _respond(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for at in range(0, len(body), _CHUNK_BYTES):
        await send({"type": "http.response.body", "body": body[at : at + _CHUNK_BYTES], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _media_type(path: Path) -> str:
    found = _MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") and "charset" not in found else found


def _accepts_gzip(accepted: bytes) -> bool:
    for choice in accepted.lower().split(b","):
        name, _, weight = choice.partition(b";")
        if name.strip() == b"gzip":
            return weight.replace(b" ", b"").removeprefix(b"q=").strip(b"0.") != b"" or not weight
    return False


def _holds(etag: bytes, known: bytes) -> bool:
    """Whether an If-None-Match names the variant."""
    return any(name.strip().removeprefix(b"W/") in (etag, b"*") for name in known.split(b","))
