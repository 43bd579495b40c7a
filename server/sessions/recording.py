"""Sessions recorded to disk, where the operator allows it and the client asks for it.

    DIR/20261122T163105Z-1a2b3c4d.ogg     stereo Opus: left what the model heard, right what it said, step by step
    DIR/20261122T163105Z-1a2b3c4d.jsonl   metadata, then each text piece with its time, then why the session ended

Named by the UTC time and the session's id, which the client is told and the log has; ``rm DIR/*-1a2b3c4d.*`` deletes
it. Each half second is written at once, so that a crash loses no more, and what is there can be played.

One thread encodes and writes for all sessions, fed by a bounded queue. A recording that the disk or this thread cannot
keep up with ends there, and its session goes on. Knows no session and no socket.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from server.audio.framing import FRAME_S, FRAME_SAMPLES, Pcm
from server.audio.ogg import OggOpusWriter
from server.audio.opus import OpusEncoder
from server.settings import Settings

log = logging.getLogger(__name__)

PAGE_FRAMES = 6  # 0.48 s: what a crash may lose
MAX_QUEUED = 2048  # steps: 31 MB, two seconds of eighty sessions
PRUNE_EVERY_S = 600.0
_BITRATE_BPS = 64_000
_JOIN_TIMEOUT_S = 1.0
_FILE_NAME = re.compile(r"\d{8}T\d{6}Z-\w+\.(ogg|jsonl)")  # other files are neither counted nor deleted


class CannotRecord(Exception):
    """The directory cannot be written to. The message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One step of a session."""

    heard: Pcm  # [FRAME_SAMPLES]
    said: Pcm | None  # [FRAME_SAMPLES]; None: nothing was said
    piece: str


class Recording:
    """One session's recording, as the session sees it. Owner: the event loop, except for `is_cut`."""

    def __init__(
        self, call: str, metadata: dict[str, Any], put: Callable[[Recording, RecordedFrame | str], bool]
    ) -> None:
        self.call = call
        self.metadata = metadata  # the first line of its transcript
        self.is_cut = False  # set by whichever thread finds that it cannot go on
        self._put = put

    def add(self, frame: RecordedFrame) -> bool:
        """Record one step. False: the recording has been cut and takes nothing more."""
        if not self.is_cut and not self._put(self, frame):
            self.cut("the disk is too slow")
        return not self.is_cut

    def cut(self, reason: str) -> None:
        """End it before its session, for the first reason that is given."""
        if self.is_cut:
            return
        self.is_cut = True
        self.end("cut")
        log.error("recording cut", extra={"call": self.call, "reason": reason})

    def end(self, why: str) -> None:
        """Nothing more comes; the first reason that is given counts."""
        self._put(self, why)


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
        self._quota_bytes = quota_bytes
        self._keep_s = keep_s
        self._used_bytes = 0  # as counted when last pruned, and what was written since
        self._queue: queue.SimpleQueue[tuple[Recording, RecordedFrame | str] | None] = queue.SimpleQueue()
        self._files: dict[Recording, _Files] = {}  # owned by the thread
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=directory).close()
            self.prune()
        except OSError as error:
            raise CannotRecord(f"cannot record into {directory}: {error.strerror}.") from error
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def begin(self, call: str, metadata: dict[str, Any]) -> Recording:
        """A recording of `call`, whose transcript begins with `metadata`."""
        return Recording(call, metadata, self._put)

    def stop(self) -> None:
        """Write what is queued, within a bound, and end the thread."""
        self._queue.put(None)
        self._thread.join(_JOIN_TIMEOUT_S)

    def prune(self) -> None:
        """Delete recordings that are too old, and count the size of the rest. Raises OSError."""
        oldest = time.time() - self._keep_s  # noqa: TID251, a file says when it was written
        used_bytes = 0
        for path in self._directory.iterdir():
            if _FILE_NAME.fullmatch(path.name):
                with suppress(FileNotFoundError):  # another process deleted it meanwhile
                    found = path.stat()
                    if found.st_mtime < oldest:
                        path.unlink()
                    else:
                        used_bytes += found.st_size
        self._used_bytes = used_bytes

    def _put(self, recording: Recording, item: RecordedFrame | str) -> bool:
        """False: the queue is full. An end always fits, of which a session has one."""
        if isinstance(item, RecordedFrame) and self._queue.qsize() >= MAX_QUEUED:
            return False
        self._queue.put((recording, item))
        return True

    # ── The thread

    def _run(self) -> None:
        pruned_at = time.monotonic()
        while True:
            if time.monotonic() > pruned_at + PRUNE_EVERY_S:
                pruned_at = time.monotonic()
                self._prune_again()
            try:
                item = self._queue.get(timeout=PRUNE_EVERY_S)
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
            self.prune()
        except OSError as error:
            log.error("old recordings could not be deleted", extra={"reason": error.strerror})

    def _write(self, recording: Recording, frame: RecordedFrame) -> None:
        files = self._files.get(recording)
        if files is None:
            files = self._files[recording] = _Files(self._directory, recording)
        self._used_bytes += files.add(frame)
        if self._used_bytes > self._quota_bytes:
            recording.cut("the size limit is reached")

    def _finish(self, recording: Recording, why: str) -> None:
        files = self._files.pop(recording, None)
        if files:
            files.close(why)


class _Files:
    """The two files of one recording. Everything may raise OSError."""

    def __init__(self, directory: Path, recording: Recording) -> None:
        now = datetime.now(UTC)
        stem = f"{now:%Y%m%dT%H%M%SZ}-{recording.call}"
        self._encoder = OpusEncoder(_BITRATE_BPS, channels=2)
        self._writer = OggOpusWriter(channels=2)
        self._stereo = np.zeros((FRAME_SAMPLES, 2), np.float32)
        self._packets: list[bytes] = []  # of the current page
        self._steps = 0
        self._text = _create(directory / f"{stem}.jsonl")
        self._write_line(
            {"call": recording.call, "started_at": now.isoformat(timespec="seconds"), **recording.metadata}
        )
        self._sound = _create(directory / f"{stem}.ogg")
        _write(self._sound, self._writer.headers())

    def add(self, frame: RecordedFrame) -> int:
        """Write one step. Returns the bytes written, often none yet."""
        wrote_bytes = 0
        if frame.piece:
            wrote_bytes += self._write_line({"at_s": round(self._steps * FRAME_S, 2), "piece": frame.piece})
        self._stereo[:, 0] = frame.heard
        self._stereo[:, 1] = 0.0 if frame.said is None else frame.said
        self._packets += self._encoder.encode(self._stereo)
        self._steps += 1
        return wrote_bytes + (self._write_page() if self._steps % PAGE_FRAMES == 0 else 0)

    def close(self, why: str) -> None:
        """Write the rest, and why it ended."""
        try:
            self._write_page()
            _write(self._sound, self._writer.end())
            self._write_line({"at_s": round(self._steps * FRAME_S, 2), "end": why})
        finally:
            self._sound.close()
            self._text.close()

    def _write_page(self) -> int:
        page = self._writer.page(self._packets)
        self._packets = []
        return _write(self._sound, page)

    def _write_line(self, fields: dict[str, Any]) -> int:
        return _write(self._text, json.dumps(fields, ensure_ascii=False).encode() + b"\n")


def _create(path: Path) -> FileIO:
    """A new file that only the server's user may read, unbuffered."""
    return FileIO(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w")


def _write(file: FileIO, data: bytes) -> int:
    """Write all of `data` or none: a disk that is nearly full takes a part, and reports that at the next write."""
    begins_at, written = file.tell(), 0
    try:
        while written < len(data):
            written += file.write(data[written:]) or 0
    except OSError:
        file.truncate(begins_at)
        file.seek(begins_at)
        raise
    return written
