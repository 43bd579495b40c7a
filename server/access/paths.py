"""One spelling of each path, made before anybody judges it, so that no two judges can read it differently."""

from __future__ import annotations

import re

from starlette.types import Scope

from server.errors import PathNotFound

_ENCODED_SLASH = re.compile(rb"%2f|%5c", re.IGNORECASE)
_DOT_SEGMENT = re.compile(r"/\.{1,2}(/|$)")


def normalize_path(scope: Scope) -> None:
    """Make repeated slashes single and drop the last one, in place.

    Raises PathNotFound for what no path of ours has: control characters, encoded slashes, dot segments.
    """
    path, raw_path = scope["path"], scope.get("raw_path") or b""
    is_plain = path.isprintable() and "\ufffd" not in path and "\\" not in path
    if not is_plain or _ENCODED_SLASH.search(raw_path) or _DOT_SEGMENT.search(path):
        raise PathNotFound("There is nothing at this path.")
    scope["path"] = re.sub("/+", "/", path).rstrip("/") or "/"
    scope["raw_path"] = re.sub(b"/+", b"/", raw_path).rstrip(b"/") or b"/"
