"""Sessions recorded to disk, where the operator allows it and the client asks for it.

One thread encodes and writes for all sessions, fed by a bounded queue. A recording that the disk, this thread or the
quota (`recording_quota.py`) cannot hold ends there or does not begin, and its session goes on. What is written:
`recording_files.py`. Knows no session and no socket.
"""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from server.sessions.recording import RecordedFrame, Recording
from server.sessions.recording_files import RecordingFiles
from server.sessions.recording_quota import RecordingQuota
from server.settings import Settings

log = logging.getLogger(__name__)

MAX_QUEUED = 2048  # steps: 31 MB, two seconds of eighty sessions
PRUNE_EVERY_S = 600.0
TELL_EVERY_S = 60.0  # that recordings do not begin; then too the directory is counted again
_JOIN_TIMEOUT_S = 1.0


class CannotRecord(Exception):
    """The directory cannot be written to. The message is a sentence for the operator."""


def make_recorder(settings: Settings) -> Recorder | None:
    """The recorder that the operator asked for; None: nothing is recorded. Raises CannotRecord."""
    if settings.record is None:
        return None
    return Recorder(settings.record, settings.record_gb * 1e9, settings.record_days * 86_400)


class Recorder:
    """All recordings of a server: their directory, and the thread that writes them."""

    def __init__(self, directory: Path, quota_bytes: float, keep_s: float) -> None:
        """Raises CannotRecord."""
        self._directory = directory
        self._quota = RecordingQuota(directory, quota_bytes, keep_s)
        self._queue: queue.SimpleQueue[tuple[Recording, RecordedFrame | str] | None] = queue.SimpleQueue()
        self._files: dict[Recording, RecordingFiles] = {}  # owned by the thread
        self._prune_at = time.monotonic() + PRUNE_EVERY_S  # moved by either thread
        self._refused = 0  # since it was told
        self._told_at = float("-inf")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=directory).close()
            self._quota.prune()
        except OSError as error:
            raise CannotRecord(f"cannot record into {directory}: {error.strerror}.") from error
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def begin(self, call: str, metadata: dict[str, Any]) -> Recording | None:
        """A recording of `call`, whose transcript begins with `metadata`; None: there is no room for it."""
        why = self._quota.open(call)
        if why:
            self._tell_refusal(why)
            return None
        return Recording(call, metadata, self._put)

    def stop(self) -> None:
        """Write what is queued, within a bound, and end the thread."""
        self._queue.put(None)
        self._thread.join(_JOIN_TIMEOUT_S)

    def _tell_refusal(self, why: str) -> None:
        self._refused += 1
        if (now := time.monotonic()) - self._told_at > TELL_EVERY_S:
            log.error("calls are not recorded", extra={"reason": why, "calls": self._refused})
            self._refused, self._told_at = 0, now
            self._prune_at = now  # the operator may have made room

    def _put(self, recording: Recording, item: RecordedFrame | str) -> bool:
        """False: the queue is full. An end always fits, of which a session has one."""
        if isinstance(item, RecordedFrame) and self._queue.qsize() >= MAX_QUEUED:
            return False
        self._queue.put((recording, item))
        return True

    # ── The thread

    def _run(self) -> None:
        while True:
            if time.monotonic() >= self._prune_at:
                self._prune_at = time.monotonic() + PRUNE_EVERY_S
                self._prune_again()
            try:
                item = self._queue.get(timeout=TELL_EVERY_S)
            except queue.Empty:
                continue
            if item is None:
                return
            recording, frame_or_end = item
            try:
                if isinstance(frame_or_end, str):
                    self._finish(recording, frame_or_end)
                elif not recording.is_cut:
                    self._write(recording, frame_or_end)
            except OSError as error:
                recording.cut(error.strerror or str(error))

    def _prune_again(self) -> None:
        try:
            self._quota.prune()
        except OSError as error:
            log.error("old recordings could not be deleted", extra={"reason": error.strerror})

    def _write(self, recording: Recording, frame: RecordedFrame) -> None:
        files = self._files.get(recording)
        if files is None:
            ask = partial(self._quota.grow, recording.call)
            files = self._files[recording] = RecordingFiles(self._directory, recording, ask)
        files.add(frame)

    def _finish(self, recording: Recording, why: str) -> None:
        files = self._files.pop(recording, None)
        on_disk_bytes = 0 if files is None else None
        try:
            if files:
                on_disk_bytes = files.close(why)
        finally:
            self._quota.close(recording.call, on_disk_bytes)
