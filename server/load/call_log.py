"""All calls of a run, assembled from the parts that the worker processes report.

Kept in full: 20 bytes a frame (32 with raw packets), which is 0.2 GB for an hour of 200 callers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from server.load.call_record import CallRecord


class CallLog:
    """Joins the parts of each call by its key."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, CallRecord] = {}

    @property
    def calls(self) -> list[CallRecord]:
        return list(self._calls.values())

    def add(self, parts: Iterable[tuple[Hashable, CallRecord]]) -> None:
        for key, record in parts:
            if key in self._calls:
                self._calls[key].add(record)
            else:
                self._calls[key] = record

    def unsettled(self, callers: int) -> int:
        """How many of the callers 0 … `callers` - 1 have neither got a handshake nor failed yet."""
        settled = {c.caller for c in self._calls.values() if c.handshake_after_s is not None or c.failure}
        return callers - sum(caller < callers for caller in settled)
