"""What keeps a server from starting is logged in one line that says what to do, and sets the exit status."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.commands.serve import NOT_STARTED, _explain_bind_error, runner_factory, serve
from server.settings import Settings
from server.transport.listener import ConnectionLimiter, listen
from tests.server.chat_client import TIMEOUT_S, open_chat, speech
from tests.server.conftest import Serve

pytest.importorskip("torch")

import torch


async def failed_start(**chosen: str) -> tuple[int, str]:
    """The exit status of a server that cannot start, and the one warning that it logs."""
    settings = Settings.model_validate(chosen)
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(f"{record.getMessage()}: {vars(record)['reason']}")
    logging.getLogger().addHandler(handler)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status = await serve(
                settings, runner_factory(settings), listen("127.0.0.1", 0, ConnectionLimiter(settings))
            )
    finally:
        logging.getLogger().removeHandler(handler)
    [line] = lines
    return status, line


def cut_to(size: int) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(file.read_bytes()[:size])


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("model.safetensors", cut_to(100_000), "model.safetensors can't be read .* was its download cut short"),
        ("model.safetensors", cut_to(5), "model.safetensors can't be read"),
        ("mimi.safetensors", cut_to(0), "mimi.safetensors can't be read"),
        ("mimi.safetensors", Path.unlink, "has no file mimi.safetensors"),
        ("tokenizer.model", cut_to(50), "tokenizer.model"),
        ("tokenizer.model", cut_to(0), "tokenizer.model"),
        ("config.json", cut_to(20), "config.json"),
    ],
)
async def test_damaged_model_file_is_a_one_line_error(
    random_checkpoint: str, tmp_path: Path, name: str, damage: Callable[[Path], object], expected: str
):
    broken = tmp_path / "broken"
    shutil.copytree(random_checkpoint, broken)
    damage(next(broken.rglob(name)))
    status, line = await failed_start(model=str(broken), device="cpu")
    assert status == NOT_STARTED
    assert re.search(expected, line), line
    assert "\n" not in line and "Traceback" not in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
async def test_missing_gpu_is_a_one_line_error():
    status, line = await failed_start(model="demo", device="cuda")
    assert status == NOT_STARTED
    assert "PyTorch sees no NVIDIA GPU here" in line and "Leave --device out" in line


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EADDRINUSE, "Stop the program that uses it, or choose another port with --port."),
        (errno.EACCES, "Ports below 1024 need privileges: choose another with --port."),
    ],
)
def test_bind_error_says_what_to_do(number: int, expected: str):
    settings = Settings(port=443)
    line = _explain_bind_error(settings, OSError(number, "no"))
    assert line.endswith(expected) and "127.0.0.1 port 443" in line


@pytest.mark.usefixtures("short_watch_interval", "unpaced_engine")
async def test_setting_the_system_clock_does_not_end_a_call(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    served = await serve(max_call_s=600)
    async with open_chat(served.chat + "?events=1") as client:
        await client.handshake()
        for day in (0, 1000, -1000):
            monkeypatch.setattr(time, "time", lambda day=day: 1.8e9 + 86_400 * day)
            for frame in speech(3):
                await client.send_frame(frame)
                await client.receive_frame()
            stats = await client.event("stats")
            assert 0 <= stats["wait_ms"] < 1000 * TIMEOUT_S and 0 <= stats["step_ms"] < 1000 * TIMEOUT_S
