"""Bounds on a request's head, judged on its bytes before any parser reads them: each parser has bounds of its own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus

MAX_REQUEST_LINE_BYTES = 66 * 1024  # a persona of 4,000 characters, each four bytes and each byte percent-encoded
MAX_HEADER_BYTES = 16 * 1024  # of one
MAX_HEADERS_BYTES = 32 * 1024  # of all
MAX_HEADERS = 128
MAX_HEAD_BYTES = MAX_REQUEST_LINE_BYTES + MAX_HEADERS_BYTES
_END = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class HeadRefused:
    """Why a head is refused."""

    status: HTTPStatus
    sentence: str

    @property
    def body(self) -> bytes:
        """JSON with a code for programs and a sentence for people, as the application's errors have it."""
        return json.dumps({"error": {"code": "request", "message": self.sentence}}, separators=(",", ":")).encode()


INVALID = HeadRefused(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")
INVALID_UPGRADE = HeadRefused(HTTPStatus.BAD_REQUEST, "This is not a valid WebSocket handshake.")
NO_UPGRADE = HeadRefused(HTTPStatus.UPGRADE_REQUIRED, "The Upgrade and Connection headers ask for no WebSocket.")
NOT_GET = HeadRefused(HTTPStatus.METHOD_NOT_ALLOWED, "A WebSocket handshake has to be a GET request.")
WITH_BODY = HeadRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Requests with a body are not accepted.")
TOO_SLOW = HeadRefused(HTTPStatus.REQUEST_TIMEOUT, "The WebSocket handshake took too long.")
FAILED = HeadRefused(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed to answer. The fault is ours.")
LINE_TOO_LONG = HeadRefused(
    HTTPStatus.REQUEST_URI_TOO_LONG, f"The request line is too long: at most {MAX_REQUEST_LINE_BYTES:,} bytes."
)
HEADERS_TOO_LARGE = HeadRefused(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The headers are too large: at most {MAX_HEADERS}, of {MAX_HEADER_BYTES:,} bytes each and "
    f"{MAX_HEADERS_BYTES:,} in all.",
)


def judge_head(received: bytes) -> HeadRefused | None:
    """What is wrong with the head that `received` begins with, complete or not; None: nothing so far."""
    line_end = received.find(b"\n")
    if (len(received) if line_end < 0 else line_end) > MAX_REQUEST_LINE_BYTES:
        return LINE_TOO_LONG
    if line_end < 0:
        return None
    end = _END.search(received, line_end)
    headers = received[line_end + 1 : end.start() if end else len(received)]
    if len(headers) > MAX_HEADERS_BYTES or headers.count(b"\n") >= MAX_HEADERS:
        return HEADERS_TOO_LARGE
    if len(headers) > MAX_HEADER_BYTES and max(map(len, headers.split(b"\n"))) > MAX_HEADER_BYTES:
        return HEADERS_TOO_LARGE
    return None
