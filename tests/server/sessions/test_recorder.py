"""The recorder: what is on the disk during a call, after it, after a crash and when the disk is full."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.sessions import recorder as recorder_module
from server.sessions import recording_files, recording_quota
from server.sessions.recorder import CannotRecord, Recorder
from server.sessions.recording import RecordedFrame, Recording
from server.sessions.recording_files import PAGE_FRAMES
from server.sessions.recording_quota import OPENING_BYTES
from tests.server.chat_client import TIMEOUT_S, speech

GB = 1e9
MONTH_S = 30 * 86_400.0
OPUS_DELAY_SAMPLES = 60  # 2.5 ms, the delay of the low-delay mode


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "kept", GB, MONTH_S)
    yield made
    made.stop()


def begin(recorder: Recorder, call: str, metadata: dict[str, object]) -> Recording:
    """A recording, for which there is room."""
    made = recorder.begin(call, metadata)
    assert made
    return made


def disk_bytes(directory: Path) -> int:
    """What the files in a directory take up."""
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


def recorded_frames(count: int, spoken: bool = True) -> list[RecordedFrame]:
    """Frames whose model channel is half as loud as the caller's, with a text piece in every fourth."""
    frames = speech(count)
    return [
        RecordedFrame(frame, frame * 0.5 if spoken else None, f" word{at}" if at % 4 == 0 else "")
        for at, frame in enumerate(frames)
    ]


def recorded_files(directory: Path, call: str) -> tuple[Path, Path]:
    """The audio and the text file of a call."""
    [sound], [text] = directory.glob(f"*-{call}.ogg"), directory.glob(f"*-{call}.jsonl")
    return sound, text


def lines(text: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.read_text().splitlines()]


def test_recording_has_both_channels_and_the_text_in_time(recorder: Recorder, tmp_path: Path):
    kept = begin(recorder, "1a2b3c4d", {"seed": 5})
    spoken = recorded_frames(25)
    for moment in spoken:
        assert kept.add(moment)
    kept.end("left")
    recorder.stop()
    sound, text = recorded_files(tmp_path / "kept", "1a2b3c4d")
    pcm, rate_hz = soundfile.read(sound, dtype="float32")
    assert rate_hz == 24_000 and pcm.shape == (25 * FRAME_SAMPLES, 2)
    for channel, side in enumerate(("input_pcm", "output_pcm")):
        original = np.concatenate([getattr(moment, side) for moment in spoken])
        pair = pcm[OPUS_DELAY_SAMPLES:, channel], original[:-OPUS_DELAY_SAMPLES]
        assert np.corrcoef(*pair)[0, 1] > 0.95
    levels = np.sqrt((pcm**2).mean(axis=0))
    assert levels[0] == pytest.approx(2 * levels[1], rel=0.2), "the left channel is the caller"
    first, *words, last = lines(text)
    assert (first["call"], first["seed"]) == ("1a2b3c4d", 5) and "started_at" in first
    assert words == [{"at_s": round(at * FRAME_S, 2), "piece": f" word{at}"} for at in range(0, 25, 4)]
    assert last == {"at_s": 2.0, "end": "left"}
    assert {path.stat().st_mode & 0o777 for path in (sound, text)} == {0o600}


def test_whole_pages_are_on_the_disk_before_the_call_ends(recorder: Recorder, tmp_path: Path):
    kept = begin(recorder, "call", {})
    for moment in recorded_frames(PAGE_FRAMES + 1):
        kept.add(moment)
    recorder.stop()  # without `end`, as after a crash
    sound, text = recorded_files(tmp_path / "kept", "call")
    assert soundfile.info(sound).frames == PAGE_FRAMES * FRAME_SAMPLES
    assert len(lines(text)) == 3


CRASHING = """
import sys, time
from pathlib import Path
from server.sessions.recorder import Recorder
from tests.server.sessions.test_recorder import recorded_frames
kept = Recorder(Path(sys.argv[1]), 1e9, 1e9).begin("call", {})
for moment in recorded_frames(1000):
    kept.add(moment)
    print(flush=True)
    time.sleep(0.01)
"""


def test_crash_loses_at_most_the_last_second(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", CRASHING, tmp_path], stdout=subprocess.PIPE) as running:
        assert running.stdout
        for _ in range(40):
            running.stdout.readline()
        running.send_signal(signal.SIGKILL)
        added = 40 + len(running.stdout.readlines())
    sound, text = recorded_files(tmp_path, "call")
    assert soundfile.info(sound).frames >= (added - 1 / FRAME_S) * FRAME_SAMPLES
    assert lines(text)[-1]["piece"]


def test_full_disk_ends_the_recording_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A limit on the size of files replaces the full disk: a write is first shortened, then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recorder = Recorder(tmp_path, GB, MONTH_S)
    unlucky, lucky = begin(recorder, "unlucky", {}), begin(recorder, "lucky", {})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        spoken = recorded_frames(50)
        for moment in spoken:
            unlucky.add(moment)
        _wait_until(lambda: unlucky.is_cut)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not unlucky.add(spoken[0])
        assert lucky.add(spoken[0])
        unlucky.end("left")
        lucky.end("left")
        recorder.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    [record] = [record for record in caplog.records if record.message == "recording cut"]
    assert (vars(record)["call"], vars(record)["reason"]) == ("unlucky", "File too large")
    sound, text = recorded_files(tmp_path, "unlucky")
    assert soundfile.info(sound).frames > PAGE_FRAMES * FRAME_SAMPLES
    assert lines(text)[-1]["end"] == "cut"
    assert lines(recorded_files(tmp_path, "lucky")[1])[-1]["end"] == "left"


def test_quota_counts_older_recordings(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "20260101T000000Z-old.ogg").write_bytes(bytes(50_000))
    recorder = Recorder(tmp_path, 85_000, MONTH_S)
    kept = begin(recorder, "call", {})
    for moment in recorded_frames(50):
        kept.add(moment)
    kept.end("left")
    recorder.stop()
    assert kept.is_cut and vars(caplog.records[-1])["reason"] == "the size limit is reached"
    assert 50_000 < disk_bytes(tmp_path) <= 85_000


@pytest.mark.parametrize("quota_bytes", [1000, OPENING_BYTES - 1, OPENING_BYTES, 100_000, 300_000])
@pytest.mark.parametrize("frames", [1, 20])
def test_any_number_of_short_calls_stays_within_the_quota(tmp_path: Path, quota_bytes: int, frames: int):
    recorder = Recorder(tmp_path, quota_bytes, MONTH_S)
    spoken = recorded_frames(frames)
    for number in range(200):
        kept = recorder.begin(f"call{number}", {"model": "m" * 200})
        if kept:
            for moment in spoken:
                kept.add(moment)
            kept.end("left")
        _wait_until(recorder._queue.empty)
    recorder.stop()
    assert disk_bytes(tmp_path) <= quota_bytes
    assert bool([*tmp_path.iterdir()]) is (quota_bytes >= OPENING_BYTES)
    assert all("end" in lines(text)[-1] for text in tmp_path.glob("*.jsonl"))


def test_simultaneous_calls_stay_within_the_quota(tmp_path: Path):
    recorder = Recorder(tmp_path, 400_000, MONTH_S)
    kept = [made for number in range(40) if (made := recorder.begin(f"call{number}", {}))]
    for moment in recorded_frames(60):
        for made in kept:
            made.add(moment)
    for made in kept:
        made.end("left")
    _wait_until(recorder._queue.empty)
    recorder.stop()
    assert len(kept) == 400_000 // OPENING_BYTES and disk_bytes(tmp_path) <= 400_000


def test_quota_is_told_as_much_as_the_disk_gives(tmp_path: Path):
    """Counted again after a restart, it is what was counted while it was written."""
    recorder = Recorder(tmp_path, GB, MONTH_S)
    for number in range(3):
        kept = begin(recorder, f"call{number}", {})
        for moment in recorded_frames(20 * number + 1):
            kept.add(moment)
        kept.end("left")
    recorder.stop()
    counted = recorder._quota.used_bytes
    again = Recorder(tmp_path, GB, MONTH_S)
    again.stop()
    assert counted == again._quota.used_bytes >= disk_bytes(tmp_path) > 0


def test_recordings_are_bounded_at_once_and_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording_quota, "MAX_AT_ONCE", 3)
    monkeypatch.setattr(recording_quota, "MAX_FILES", 10)
    recorder = Recorder(tmp_path, GB, MONTH_S)
    kept = [recorder.begin(f"call{number}", {}) for number in range(4)]
    assert [made is not None for made in kept] == [True] * 3 + [False]
    for made in kept[:3]:
        assert made
        made.end("left")  # without a frame, and so without a file
    for number in range(10):
        if made := recorder.begin(f"later{number}", {}):
            made.add(recorded_frames(1)[0])
            made.end("left")
        _wait_until(lambda: not recorder._quota._charged_bytes)
    recorder.stop()
    assert len([*tmp_path.iterdir()]) == 10


def test_refused_recordings_are_told_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    now = [1000.0]
    monkeypatch.setattr(recorder_module.time, "monotonic", lambda: now[0])
    recorder = Recorder(tmp_path, 1000, MONTH_S)
    for seconds in range(130):
        now[0] = 1000.0 + seconds
        assert recorder.begin("call", {}) is None
    recorder.stop()
    told = [vars(record) for record in caplog.records if record.message == "calls are not recorded"]
    assert [(record["reason"], record["calls"]) for record in told] == [
        ("the size limit is reached", calls) for calls in (1, 61, 61)
    ]


def test_room_that_the_operator_makes_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = tmp_path / "20260101T000000Z-old.ogg"
    old.write_bytes(bytes(50_000))
    monkeypatch.setattr(recorder_module, "TELL_EVERY_S", 0.01)
    recorder = Recorder(tmp_path, 60_000, MONTH_S)
    assert recorder.begin("call", {}) is None
    old.unlink()
    _wait_until(lambda: recorder.begin("call", {}))
    recorder.stop()


def test_disk_without_room_for_the_headers_keeps_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recording_files.OggOpusWriter, "headers", fail)
    recorder = Recorder(tmp_path, GB, MONTH_S)
    kept = begin(recorder, "call", {})
    kept.add(recorded_frames(1)[0])
    _wait_until(lambda: kept.is_cut)
    _wait_until(lambda: not recorder._quota._charged_bytes)
    recorder.stop()
    assert not [*tmp_path.iterdir()] and recorder._quota.used_bytes == 0


def test_only_old_recordings_are_deleted(tmp_path: Path):
    old, new = tmp_path / "20250101T000000Z-old.ogg", tmp_path / "20260101T000000Z-new.ogg"
    others = [tmp_path / "song.ogg", tmp_path / "data.jsonl", tmp_path / "notes"]
    for path in (old, new, *others):
        path.write_bytes(b"x")
    for path in (old, *others):
        os.utime(path, (0, time.time() - MONTH_S - 60))
    Recorder(tmp_path, GB, MONTH_S).stop()
    assert set(tmp_path.iterdir()) == {new, *others}


def test_file_deleted_during_the_scan_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By an operator, or by another server with the same directory."""
    gone, kept = tmp_path / "20260101T000000Z-gone.ogg", tmp_path / "20260101T000000Z-kept.ogg"
    for path in (gone, kept):
        path.write_bytes(bytes(100))

    class DeletesWhileItIsRead:
        def fullmatch(self, name: str) -> object:
            gone.unlink(missing_ok=True)
            return recording_files.FILE_NAME.fullmatch(name)

    monkeypatch.setattr(recording_quota, "FILE_NAME", DeletesWhileItIsRead())
    recorder = Recorder(tmp_path, GB, MONTH_S)
    recorder.stop()
    assert recorder._quota.used_bytes == recording_files.BLOCK_BYTES


def test_recorders_of_one_directory_start_at_the_same_time(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        for recorder in [*pool.map(lambda _: Recorder(tmp_path, GB, MONTH_S), range(64))]:
            recorder.stop()
    assert not [*tmp_path.iterdir()]


def test_recording_is_cut_when_its_queue_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(Recorder, "_run", lambda _: None)  # the thread writes nothing
    monkeypatch.setattr(recorder_module, "MAX_QUEUED", 10)
    kept = begin(Recorder(tmp_path, GB, MONTH_S), "call", {})
    assert [kept.add(moment) for moment in recorded_frames(12)] == [True] * 10 + [False] * 2
    assert vars(caplog.records[-1])["reason"] == "the disk is too slow"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_directory_is_a_clear_error(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotRecord, match="Permission denied"):
        Recorder(tmp_path, GB, MONTH_S)


def test_file_in_place_of_the_directory_is_a_clear_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotRecord, match=r"cannot record into .*file: File exists"):
        Recorder(tmp_path / "file", GB, MONTH_S)


def _wait_until(condition: object) -> None:
    """Block until `condition()` is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)
