"""Logging: a constant message and fields, as text or as JSON. Never a caller's audio or words.

Every line that is logged during a call carries the call's id, and secrets are removed from every line, those of
libraries included. Knows neither calls nor settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

call_id: ContextVar[str | None] = ContextVar("call_id", default=None)  # of the call that the running task serves

_MAX_LINES_PER_S = 50  # of one message; only a flood of calls exceeds it
_STANDARD_ATTRIBUTES = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
# In a URL, in a header, in a subprotocol; and signed tokens anywhere.
_SECRET = re.compile(
    r"""((?:token|resume)=|bearer\s+|parley\.token\.)[^\s&"'\\,]+|\beyJ[\w-]+\.[\w-]+\.[\w-]+""", re.IGNORECASE
)


def _redacted(line: str) -> str:
    return _SECRET.sub(lambda found: f"{found[1] or ''}…", line)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields that were passed as `extra`, and the call's id."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
    call = call_id.get()
    return fields if call is None else {"call": call, **fields}


class _Text(logging.Formatter):
    """One line for people: the fields follow the message as key=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return " ".join([super().formatMessage(record), *(f"{k}={_quoted(v)}" for k, v in _fields(record).items())])

    def format(self, record: logging.LogRecord) -> str:
        return _redacted(super().format(record))


class _Json(logging.Formatter):
    """One line for programs: a JSON object, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        redacted = _redacted(json.dumps(line, default=str, ensure_ascii=False))
        # stderr would escape characters that its encoding lacks as Python does, which is not JSON.
        return re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], redacted)


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or c in "\"'=" or not c.isprintable() for c in text) else text


class LogThrottle(logging.Filter):
    """Passes at most `per_second` lines of one message in each second, so that a flood of calls cannot fill a disk.

    The next line of that message carries the number that was dropped, as `suppressed`.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._seen: Counter[tuple[str, str]] = Counter()  # in this second
        self._suppressed: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.name, str(record.msg)
        if (second := int(self._clock())) != self._second:
            self._second = second
            self._seen.clear()
        self._seen[message] += 1
        if self._seen[message] > self._per_second:
            self._suppressed[message] += 1
            return False
        if suppressed := self._suppressed.pop(message, 0):
            record.suppressed = suppressed
        return True


def _is_unexpected(record: logging.LogRecord) -> bool:
    """False for errors of uvicorn that are expected: a call refused before its upgrade, a client's text that is not
    UTF-8, tasks cancelled by a second signal (which Starlette logs as text).
    """
    if record.exc_info and record.exc_info[0] is asyncio.CancelledError:
        return False
    message = record.getMessage()
    return not message.rstrip().endswith("asyncio.exceptions.CancelledError") and not any(
        expected in message for expected in ("without completing handshake", "Invalid UTF-8 sequence")
    )


def set_up_logging(level: int) -> None:
    """Log to stderr from `level` on, and from WARNING on for libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Text())
    handler.addFilter(LogThrottle(_MAX_LINES_PER_S))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("server").setLevel(level)
    logging.getLogger("model").setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_is_unexpected)


def set_log_format(form: Literal["text", "json"]) -> None:
    """Choose the format of lines. Call after `set_up_logging`."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Json() if form == "json" else _Text())
