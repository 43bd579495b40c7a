"""Recordings: what is on disk while a call goes on, after it, and when the disk will not have it."""

from __future__ import annotations

import asyncio
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
from server.metrics import Count
from server.sessions import recording
from server.sessions.recording import PAGE_FRAMES, CannotRecord, RecordedFrame, Recorder
from tests.server.chat_client import TIMEOUT_S, open_chat, speech, wait_until
from tests.server.conftest import Serve
from tests.server.server_process import COMMAND, run_process

GB = 1e9
A_MONTH_S = 30 * 86_400.0
OPUS_DELAY_SAMPLES = 60  # 2.5 ms, of its low-delay mode


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "kept", GB, A_MONTH_S)
    yield made
    made.stop()


def moments(count: int, said: bool = True) -> list[RecordedFrame]:
    """Steps in which a tone is heard and half of it said, with a word in every fourth."""
    frames = speech(count)
    return [
        RecordedFrame(frame, frame * 0.5 if said else None, f" word{at}" if at % 4 == 0 else "")
        for at, frame in enumerate(frames)
    ]


def files(directory: Path, call: str) -> tuple[Path, Path]:
    """The sound and the text of a call."""
    [sound], [text] = directory.glob(f"*-{call}.ogg"), directory.glob(f"*-{call}.jsonl")
    return sound, text


def lines(text: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.read_text().splitlines()]


def test_both_sides_and_the_words_are_kept_in_step(recorder: Recorder, tmp_path: Path):
    kept = recorder.begin("1a2b3c4d", {"seed": 5})
    spoken = moments(25)
    for moment in spoken:
        assert kept.add(moment)
    kept.end("left")
    recorder.stop()
    sound, text = files(tmp_path / "kept", "1a2b3c4d")
    pcm, rate_hz = soundfile.read(sound, dtype="float32")
    assert rate_hz == 24_000 and pcm.shape == (25 * FRAME_SAMPLES, 2)
    for channel, side in enumerate(("heard", "said")):
        original = np.concatenate([getattr(moment, side) for moment in spoken])
        heard = pcm[OPUS_DELAY_SAMPLES:, channel], original[:-OPUS_DELAY_SAMPLES]
        assert np.corrcoef(*heard)[0, 1] > 0.95
    levels = np.sqrt((pcm**2).mean(axis=0))
    assert levels[0] == pytest.approx(2 * levels[1], rel=0.2), "left is what was heard"
    first, *words, last = lines(text)
    assert (first["call"], first["seed"]) == ("1a2b3c4d", 5) and "started_at" in first
    assert words == [{"at_s": round(at * FRAME_S, 2), "piece": f" word{at}"} for at in range(0, 25, 4)]
    assert last == {"at_s": 2.0, "end": "left"}
    assert {path.stat().st_mode & 0o777 for path in (sound, text)} == {0o600}


def test_what_was_said_is_on_the_disk_before_the_call_ends(recorder: Recorder, tmp_path: Path):
    kept = recorder.begin("call", {})
    for moment in moments(PAGE_FRAMES + 1):
        kept.add(moment)
    recorder.stop()  # and nothing is finished: so it looks after a crash
    sound, text = files(tmp_path / "kept", "call")
    assert soundfile.info(sound).frames == PAGE_FRAMES * FRAME_SAMPLES
    assert len(lines(text)) == 3


CRASHING = """
import sys, time
from pathlib import Path
from server.sessions.recording import Recorder
from tests.server.sessions.test_recording import moments
kept = Recorder(Path(sys.argv[1]), 1e9, 1e9).begin("call", {})
for moment in moments(1000):
    kept.add(moment)
    print(flush=True)
    time.sleep(0.01)
"""


def test_a_crash_leaves_all_but_the_last_second(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", CRASHING, tmp_path], stdout=subprocess.PIPE) as running:
        assert running.stdout
        for _ in range(40):
            running.stdout.readline()
        running.send_signal(signal.SIGKILL)
        said = 40 + len(running.stdout.readlines())
    sound, text = files(tmp_path, "call")
    assert soundfile.info(sound).frames >= (said - 1 / FRAME_S) * FRAME_SAMPLES
    assert lines(text)[-1]["piece"]


def test_a_full_disk_ends_the_recording_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A limit on the size of files stands in for the disk: past it, what is written comes back short, then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recorder = Recorder(tmp_path, GB, A_MONTH_S)
    unlucky, lucky = recorder.begin("unlucky", {}), recorder.begin("lucky", {})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        spoken = moments(50)
        for moment in spoken:
            unlucky.add(moment)
        _until(lambda: unlucky.is_cut)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not unlucky.add(spoken[0])
        assert lucky.add(spoken[0])
        unlucky.end("left")
        lucky.end("left")
        recorder.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    [record] = [record for record in caplog.records if record.message == "a recording was cut"]
    assert (vars(record)["call"], vars(record)["reason"]) == ("unlucky", "File too large")
    sound, text = files(tmp_path, "unlucky")
    assert soundfile.info(sound).frames > PAGE_FRAMES * FRAME_SAMPLES
    assert lines(text)[-1]["end"] == "cut"
    assert lines(files(tmp_path, "lucky")[1])[-1]["end"] == "left"


def test_the_quota_counts_what_was_there_before(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "20260101T000000Z-old.ogg").write_bytes(bytes(50_000))
    recorder = Recorder(tmp_path, 60_000, A_MONTH_S)
    kept = recorder.begin("call", {})
    for moment in moments(50):
        kept.add(moment)
    kept.end("left")
    recorder.stop()
    assert kept.is_cut and vars(caplog.records[-1])["reason"] == "the quota is used up"
    assert 50_000 < sum(path.stat().st_size for path in tmp_path.iterdir()) < 65_000


def test_what_is_old_is_deleted_and_nothing_else(tmp_path: Path):
    old, new = tmp_path / "20250101T000000Z-old.ogg", tmp_path / "20260101T000000Z-new.ogg"
    others = [tmp_path / "song.ogg", tmp_path / "data.jsonl", tmp_path / "notes"]
    for path in (old, new, *others):
        path.write_bytes(b"x")
    for path in (old, *others):
        os.utime(path, (0, time.time() - A_MONTH_S - 60))
    Recorder(tmp_path, GB, A_MONTH_S).stop()
    assert set(tmp_path.iterdir()) == {new, *others}


def test_what_somebody_else_deletes_meanwhile_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An operator, or another server that keeps its recordings in the same place."""
    kept = tmp_path / "20260101T000000Z-kept.ogg"
    kept.write_bytes(bytes(100))
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([tmp_path / "20260101T000000Z-gone.ogg", kept]))
    recorder = Recorder(tmp_path, GB, A_MONTH_S)
    recorder.stop()
    assert recorder._used_bytes == 100


def test_servers_that_share_a_directory_may_start_at_once(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        for recorder in [*pool.map(lambda _: Recorder(tmp_path, GB, A_MONTH_S), range(64))]:
            recorder.stop()
    assert not [*tmp_path.iterdir()]


def test_a_thread_that_cannot_keep_up_costs_recordings_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(Recorder, "_run", lambda _: None)  # it writes nothing at all
    monkeypatch.setattr(recording, "MAX_QUEUED", 10)
    kept = Recorder(tmp_path, GB, A_MONTH_S).begin("call", {})
    assert [kept.add(moment) for moment in moments(12)] == [True] * 10 + [False] * 2
    assert vars(caplog.records[-1])["reason"] == "the disk is too slow"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_takes_nothing_is_one_clear_line(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotRecord, match="Permission denied"):
        Recorder(tmp_path, GB, A_MONTH_S)


def test_a_file_in_the_place_of_the_directory_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotRecord, match=r"cannot record into .*file: File exists"):
        Recorder(tmp_path / "file", GB, A_MONTH_S)


@pytest.mark.usefixtures("unpaced_engine")
async def test_a_call_is_kept_when_both_sides_want_it(serve: Serve, tmp_path: Path):
    served = await serve(record=tmp_path, slots=2)
    async with open_chat(served.chat + "?events=1&record=1") as agrees, open_chat(served.chat + "?events=1") as silent:
        for client in (agrees, silent):
            await client.handshake()
            for frame in speech(8):
                await client.send_frame(frame)
                await client.receive_frame()
        ready = await agrees.event("ready")
        assert ready["recording"] is True and "recording" not in await silent.event("ready")
    await wait_until(lambda: len(lines(files(tmp_path, ready["call"])[1])) == 2)
    assert len(os.listdir(tmp_path)) == 2
    sound, text = files(tmp_path, ready["call"])
    pcm, _ = soundfile.read(sound)
    assert len(pcm) == 8 * FRAME_SAMPLES and np.allclose(pcm[:, 0], pcm[:, 1], atol=0.05), "it is an echo"
    assert lines(text)[-1] == {"at_s": 0.64, "end": "left"}


@pytest.mark.usefixtures("unpaced_engine")
async def test_a_call_goes_on_when_its_recording_cannot(serve: Serve, tmp_path: Path):
    served = await serve(record=tmp_path, record_gb=1e-6)
    async with open_chat(served.chat + "?events=1&record=1") as client:
        await client.handshake()
        for frame in speech(12):
            await client.send_frame(frame)
            await client.receive_frame()
            await asyncio.sleep(0.005)  # for the recorder's thread
        assert (await client.event("recording"))["on"] is False
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        assert served.service.counts[Count.RECORDINGS_CUT] == 1


WRITES = os.O_WRONLY | os.O_RDWR


def open_for_writing(pid: int) -> set[str]:
    """The files, not sockets or pipes, that a process could write to."""
    found: set[str] = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            path = descriptor.readlink()
            info = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
        except FileNotFoundError:
            continue
        flags = int(next(line for line in info.splitlines() if line.startswith("flags:")).split()[1], 8)
        if path.is_absolute() and flags & WRITES and path != Path("/dev/null"):
            found.add(str(path))
    return found


def written_bytes(pid: int) -> int:
    """What a process has had written to any disk."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes:")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux says what a process writes")
@pytest.mark.parametrize("allowed", [False, True])
async def test_not_a_byte_of_speech_reaches_the_disk_unless_the_operator_allows_it(tmp_path: Path, allowed: bool):
    home, kept = tmp_path / "home", tmp_path / "kept"
    home.mkdir()
    here = {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(Path(recording.__file__).parents[2])}
    environment = {**os.environ, **here, "PYTHONDONTWRITEBYTECODE": "1"}
    flags = ["--record", str(kept)] if allowed else []
    async with run_process("--slots", "2", *flags, cwd=home, env=environment) as (running, address):
        wrote_before = written_bytes(running.pid)
        async with open_chat(address.replace("http", "ws") + "/api/chat?events=1&record=1") as client:
            await client.handshake()
            for frame in speech(14):
                await client.send_frame(frame)
                await client.receive_frame()
            assert (await client.event("ready"))["recording"] is allowed
            if allowed:
                await wait_until(lambda: len(open_for_writing(running.pid)) == 2)
            else:
                assert open_for_writing(running.pid) == set()
        if not allowed:
            assert written_bytes(running.pid) == wrote_before
    assert not [*home.iterdir()]
    assert kept.exists() is allowed


def test_a_directory_that_cannot_be_had_ends_the_start_with_one_clear_line(tmp_path: Path):
    (tmp_path / "file").touch()
    done = subprocess.run(
        [*COMMAND, "--port", "0", "--record", tmp_path / "file"],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert done.stderr == f"parley: cannot record into {tmp_path / 'file'}: File exists.\n"


def _until(condition: object) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)
