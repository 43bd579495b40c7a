"""Recordings of calls on a real server: only with the consent of both sides, and never instead of the call."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from server.audio.framing import FRAME_SAMPLES
from server.metrics import Count
from server.sessions import recorder
from tests.server.chat_client import TIMEOUT_S, open_chat, speech, wait_until
from tests.server.conftest import Serve
from tests.server.server_process import COMMAND, run_process
from tests.server.sessions.test_recorder import lines, recorded_files


@pytest.mark.usefixtures("unpaced_engine")
async def test_call_is_recorded_when_operator_and_caller_agree(serve: Serve, tmp_path: Path):
    served = await serve(record=tmp_path, slots=2)
    async with open_chat(served.chat + "?events=1&record=1") as agrees, open_chat(served.chat + "?events=1") as silent:
        for client in (agrees, silent):
            await client.handshake()
            for frame in speech(8):
                await client.send_frame(frame)
                await client.receive_frame()
        ready = await agrees.event("ready")
        assert ready["recording"] is True and "recording" not in await silent.event("ready")
    await wait_until(lambda: len(lines(recorded_files(tmp_path, ready["call"])[1])) == 2)
    assert len(os.listdir(tmp_path)) == 2
    sound, text = recorded_files(tmp_path, ready["call"])
    pcm, _ = soundfile.read(sound)
    assert len(pcm) == 8 * FRAME_SAMPLES and np.allclose(pcm[:, 0], pcm[:, 1], atol=0.05), (
        "both channels are equal on the echo"
    )
    assert lines(text)[-1] == {"at_s": 0.64, "end": "left"}


@pytest.mark.usefixtures("unpaced_engine")
async def test_recording_notes_the_gap_of_a_call_that_was_resumed(serve: Serve, tmp_path: Path):
    served = await serve(record=tmp_path)
    async with open_chat(served.chat + "?events=1&record=1") as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        ready = await client.event("ready")
        client.abort()
    await wait_until(lambda: served.service.parked)
    await asyncio.sleep(0.1)
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}") as client:
        await client.handshake()
        for frame in speech(2):
            await client.send_frame(frame)
            await client.receive_frame()
    _, text = recorded_files(tmp_path, ready["call"])
    await wait_until(lambda: "end" in lines(text)[-1])
    [gap] = [line for line in lines(text) if "gap_s" in line]
    assert gap["at_s"] == 0.08 and isinstance(gap["gap_s"], float) and 0.1 <= gap["gap_s"] < TIMEOUT_S


@pytest.mark.usefixtures("unpaced_engine")
async def test_call_continues_after_its_recording_is_cut(serve: Serve, tmp_path: Path):
    served = await serve(record=tmp_path, record_gb=26e-6)  # the opening of a recording, and nothing more
    async with open_chat(served.chat + "?events=1&record=1") as client:
        await client.handshake()
        for frame in speech(24):
            await client.send_frame(frame)
            await client.receive_frame()
            await asyncio.sleep(0.005)  # so that the recorder's thread can write
        assert (await client.event("recording"))["on"] is False
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        assert served.service.counts[Count.RECORDINGS_CUT] == 1


async def test_caller_is_told_when_a_call_cannot_be_recorded(serve: Serve, tmp_path: Path):
    served = await serve(record=tmp_path, record_gb=1e-6)
    for _ in range(5):
        async with open_chat(served.chat + "?events=1&record=1") as client:
            assert (await client.event("ready"))["recording"] is False
            await client.handshake()
            await client.send_frame(speech(1)[0])
            await client.receive_frame()
    assert served.service.counts[Count.RECORDINGS_REFUSED] == 5 and not os.listdir(tmp_path)


WRITES = os.O_WRONLY | os.O_RDWR


def open_for_writing(pid: int) -> set[str]:
    """The files, without sockets and pipes, that a process has open for writing."""
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
    """The bytes that a process has written to disks."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes:")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs /proc of Linux")
@pytest.mark.parametrize("allowed", [False, True])
async def test_no_speech_reaches_the_disk_unless_the_operator_records(tmp_path: Path, allowed: bool):
    home, kept = tmp_path / "home", tmp_path / "kept"
    home.mkdir()
    here = {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(Path(recorder.__file__).parents[2])}
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


def test_unusable_record_directory_is_a_one_line_error_at_start(tmp_path: Path):
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
