"""The two files of one recording, and what they take up on the disk.

    DIR/20261122T163105Z-1a2b3c4d.ogg     stereo Opus: left what the model heard, right what it said, step by step
    DIR/20261122T163105Z-1a2b3c4d.jsonl   metadata, then each text piece and each gap with its time, then why it ended

Named by the UTC time and the session's id, which the client is told and the log has; ``rm DIR/*-1a2b3c4d.*`` deletes
it. Each half second is written at once, so that a crash loses no more, and what is there can be played.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.audio.ogg import OggOpusWriter
from server.audio.opus import OpusEncoder
from server.sessions.recording import RecordedFrame, Recording

PAGE_FRAMES = 6  # 0.48 s: what a crash may lose
BLOCK_BYTES = 4096  # what file systems give to a file at a time
FILES_EACH = 2
FILE_NAME = re.compile(r"\d{8}T\d{6}Z-(\w+)\.(?:ogg|jsonl)")  # other files are neither counted nor deleted
_BITRATE_BPS = 64_000


class NoRoom(OSError):
    """The recordings may take up no more."""


def on_disk_bytes(found: os.stat_result) -> int:
    """What a file takes up: its blocks, or its length where those are not given out yet, and no less than one block."""
    allocated_bytes = getattr(found, "st_blocks", 0) * 512
    return max(allocated_bytes, in_blocks(found.st_size), BLOCK_BYTES)


def in_blocks(size_bytes: int) -> int:
    """`size_bytes`, rounded up to whole blocks."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


class RecordingFiles:
    """Two open files. Everything may raise OSError."""

    def __init__(self, directory: Path, recording: Recording, ask: Callable[[int], None]) -> None:
        """`ask` is asked before a file grows by so many bytes beyond its first block, and raises NoRoom."""
        now = datetime.now(UTC)
        stem = f"{now:%Y%m%dT%H%M%SZ}-{recording.call}"
        self._encoder = OpusEncoder(_BITRATE_BPS, channels=2)
        self._writer = OggOpusWriter(channels=2)
        self._stereo = np.zeros((FRAME_SAMPLES, 2), np.float32)
        self._packets: list[bytes] = []  # of the current page
        self._steps = 0
        self._ask = ask
        opening = {"call": recording.call, "started_at": now.isoformat(timespec="seconds"), **recording.metadata}
        with ExitStack() as made:  # a disk that is full keeps no empty files
            self._text = _create(directory / f"{stem}.jsonl", made)
            self._write_line(opening)
            self._sound = _create(directory / f"{stem}.ogg", made)
            self._write(self._sound, self._writer.headers())
            made.pop_all()

    def add(self, frame: RecordedFrame) -> None:
        """Write one step, every sixth time to the disk."""
        if frame.gap_s:
            self._write_line({"at_s": round(self._steps * FRAME_S, 2), "gap_s": round(frame.gap_s, 2)})
        if frame.piece:
            self._write_line({"at_s": round(self._steps * FRAME_S, 2), "piece": frame.piece})
        self._stereo[:, 0] = frame.input_pcm
        self._stereo[:, 1] = 0.0 if frame.output_pcm is None else frame.output_pcm
        self._packets += self._encoder.encode(self._stereo)
        self._steps += 1
        if self._steps % PAGE_FRAMES == 0:
            self._write_page()

    def close(self, why: str) -> int:
        """Write the rest, and why it ended, for which there is room. Returns the bytes that both files take up."""
        self._ask = lambda _: None
        try:
            self._write_page()
            self._write(self._sound, self._writer.end())
            self._write_line({"at_s": round(self._steps * FRAME_S, 2), "end": why})
            return sum(on_disk_bytes(os.fstat(file.fileno())) for file in (self._sound, self._text))
        finally:
            self._sound.close()
            self._text.close()

    def _write_page(self) -> None:
        packets, self._packets = self._packets, []
        self._write(self._sound, self._writer.page(packets))

    def _write_line(self, fields: dict[str, Any]) -> None:
        self._write(self._text, json.dumps(fields, ensure_ascii=False).encode() + b"\n")

    def _write(self, file: FileIO, data: bytes) -> None:
        """Write all of `data` or none: a disk that is nearly full takes a part, and reports that at the next write."""
        begins_at, written = file.tell(), 0
        grows_bytes = in_blocks(begins_at + len(data)) - max(in_blocks(begins_at), BLOCK_BYTES)
        if grows_bytes > 0:
            self._ask(grows_bytes)
        try:
            while written < len(data):
                written += file.write(data[written:]) or 0
        except OSError:
            file.truncate(begins_at)
            file.seek(begins_at)
            raise


def _create(path: Path, made: ExitStack) -> FileIO:
    """A new file that only the server's user may read, unbuffered; `made` removes it unless it is told not to."""
    file = FileIO(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w")
    made.callback(path.unlink)
    made.callback(file.close)
    return file
