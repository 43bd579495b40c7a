"""Logging: a constant message and fields as key=value. Never a caller's audio or words."""

from __future__ import annotations

import asyncio
import logging

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class _FieldsFormatter(logging.Formatter):
    """Writes what was passed as `extra` after the message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        return " ".join([super().formatMessage(record), *(f"{k}={_quoted(v)}" for k, v in fields.items())])


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or c in "\"'=" or not c.isprintable() for c in text) else text


def _is_news(record: logging.LogRecord) -> bool:
    """False for what uvicorn takes for an error: a call refused before its upgrade, a task ended by a second Ctrl-C."""
    if record.exc_info and record.exc_info[0] is asyncio.CancelledError:
        return False
    return "without completing handshake" not in record.getMessage()


def set_up_logging(level: int) -> None:
    """Log to stderr from `level` on; of the libraries only what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_FieldsFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("server").setLevel(level)
    logging.getLogger("model").setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
