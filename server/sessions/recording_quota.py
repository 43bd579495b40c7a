"""How much recordings may take up: bytes on the disk, files, and how many are made at once.

A recording asks before it has a file, and is charged its first blocks and its closing in advance, so that no number of
short ones, headers or endings goes past the limit.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from server.sessions.recording_files import BLOCK_BYTES, FILE_NAME, FILES_EACH, NoRoom, on_disk_bytes

MAX_AT_ONCE = 80  # what one thread encodes in time, and its queue holds for two seconds
MAX_FILES = 40_000  # of 20,000 recordings: what can be looked through without disturbing calls
CLOSING_BYTES = 4 * BLOCK_BYTES  # a last page of half a second, the end of the stream, and a line
OPENING_BYTES = FILES_EACH * BLOCK_BYTES + CLOSING_BYTES


class RecordingQuota:
    """What one directory's recordings take up. Safe for threads."""

    def __init__(self, directory: Path, max_bytes: float, keep_s: float) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._kept_bytes = 0  # of recordings that are over
        self._kept_files = 0
        self._charged_bytes: dict[str, int] = {}  # of those being made, by their calls' ids

    @property
    def used_bytes(self) -> int:
        return self._kept_bytes + sum(self._charged_bytes.values())

    def open(self, call: str) -> str | None:
        """Charge the recording of `call`, or say why it may not begin."""
        with self._lock:
            if len(self._charged_bytes) >= MAX_AT_ONCE:
                return f"{MAX_AT_ONCE} calls are recorded already"
            if self._kept_files + FILES_EACH * (len(self._charged_bytes) + 1) > MAX_FILES:
                return f"{MAX_FILES // FILES_EACH:,} recordings are kept already"
            if self.used_bytes + OPENING_BYTES > self._max_bytes:
                return "the size limit is reached"
            self._charged_bytes[call] = OPENING_BYTES
            return None

    def grow(self, call: str, grows_bytes: int) -> None:
        """Charge what a recording's files grow by. Raises NoRoom."""
        with self._lock:
            if self.used_bytes + grows_bytes > self._max_bytes:
                raise NoRoom(None, "the size limit is reached")
            self._charged_bytes[call] += grows_bytes

    def close(self, call: str, on_disk_bytes: int | None) -> None:
        """A recording is over, and takes up so much; None: as much as it was charged; 0: it had no files."""
        with self._lock:
            charged_bytes = self._charged_bytes.pop(call, None)
            if charged_bytes is None or on_disk_bytes == 0:
                return
            self._kept_bytes += charged_bytes if on_disk_bytes is None else on_disk_bytes
            self._kept_files += FILES_EACH

    def prune(self) -> None:
        """Delete recordings that are too old, and count the rest. For one thread, which also closes. Raises OSError."""
        oldest = time.time() - self._keep_s  # noqa: TID251, a file says when it was written
        kept_bytes = kept_files = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                name = FILE_NAME.fullmatch(entry.name)
                if name is None or name[1] in self._charged_bytes:
                    continue
                with suppress(FileNotFoundError):  # another process deleted it meanwhile
                    found = entry.stat(follow_symlinks=False)
                    if found.st_mtime < oldest:
                        os.unlink(entry.path)
                    else:
                        kept_bytes += on_disk_bytes(found)
                        kept_files += 1
        with self._lock:
            self._kept_bytes, self._kept_files = kept_bytes, kept_files
