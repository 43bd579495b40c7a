from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.audio.opus import OpusEncoder
from server.dialects.kyutai_protocol import AudioForm
from server.logs import LogThrottle
from tests.fakes import FakeClock
from tests.server.chat_client import TIMEOUT_S, open_chat, speech

LISTENING = re.compile(r"listening on http://(\S+)")


def logged(code: str) -> list[str]:
    """The log lines of a process that runs `code`."""
    setting_up = "import logging; from server.logs import *; set_up_logging(logging.INFO);"
    done = subprocess.run([sys.executable, "-c", setting_up + code], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_text_log_has_the_fields_after_the_message():
    [line] = logged(
        "logging.getLogger('server.x').info('call ended', extra={'call': 'ab12', 'why': 'two words', 'none': ''});"
        "logging.getLogger('server.x').debug('unheard');"
        "uvicorn = logging.getLogger('uvicorn.error');"
        "uvicorn.error('ASGI callable returned without completing handshake.');"
        "uvicorn.error('Invalid UTF-8 sequence received from client.')"
    )
    assert line.endswith("INFO server.x: call ended call=ab12 why='two words' none=''")


def test_json_log_has_one_object_per_line_with_all_fields():
    first, second, third = (
        json.loads(line)
        for line in logged(
            "set_log_format('json'); log = logging.getLogger('server.x');"
            "log.info('call ended', extra={'call': 'ab12', 'seconds': 1.5});"
            "logging.getLogger('uvicorn.error').warning('a library\\'s %s', 'line');"
            "call_id.set('cd34')\n"
            "try: 1 / 0\n"
            "except ZeroDivisionError: log.exception('call failed')"
        )
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first["time"])
    assert (first["level"], first["logger"], first["message"]) == ("INFO", "server.x", "call ended")
    assert (first["call"], first["seconds"]) == ("ab12", 1.5)
    assert (second["logger"], second["message"]) == ("uvicorn.error", "a library's line")
    assert third["call"] == "cd34" and third["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_line_is_escaped_on_an_ascii_terminal(form: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    [line] = logged(f"set_log_format({form!r}); logging.getLogger('server.x').info('µ 😀')")
    if form == "json":
        assert json.loads(line)["message"] == "µ 😀"
    else:
        assert line.endswith(r"\xb5 \U0001f600")


WITH_SECRETS = [
    "GET /api/chat?token=SECRET&seed=4",
    "'/api/chat?seed=4&resume=SECRET'",
    "Authorization: Bearer SECRET",
    "sec-websocket-protocol: parley, parley.token.SECRET",
    "a call token eyJhbGciOi.SECRET.sig-_nature came",
]


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_removed_from_every_log_line(form: str):
    code = f"set_log_format({form!r}); [logging.getLogger('any.library').error(line) for line in {WITH_SECRETS!r}]"
    lines = logged(code)
    assert len(lines) == len(WITH_SECRETS)
    for written, original in zip(lines, WITH_SECRETS, strict=True):
        assert "SECRET" not in written and {"text": "…", "json": r"\u2026"}[form] in written
        assert ("seed=4" in original) == ("seed=4" in written), "only the secret is removed"


def test_repeated_messages_are_limited_and_the_rest_counted():
    clock = FakeClock()
    sparing = LogThrottle(per_second=3, clock=clock.now)
    refused, ended = (logging.makeLogRecord({"name": "server", "msg": msg}) for msg in ("call refused", "call ended"))
    assert [sparing.filter(refused) for _ in range(1000)] == [True] * 3 + [False] * 997
    assert sparing.filter(ended), "another message is not limited"
    clock.advance(1)
    assert sparing.filter(refused) and vars(refused)["suppressed"] == 997
    again = logging.makeLogRecord({"name": "server", "msg": "call refused"})
    assert sparing.filter(again) and "suppressed" not in vars(again), "the number is logged once"


def test_importing_the_server_adds_no_log_handler():
    program = (
        "import logging, server.commands.serve; assert not logging.getLogger('server').handlers + logging.root.handlers"
    )
    subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=True)


# Words of the caller and of the model, which must not be in the log.
CALLER_WORDS, MODEL_WORDS = "wisteria-trellis", "marzipan-hedgehog"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
SERVER = f"""
import numpy, sys
from server import cli
from server.commands import serve
from tests.fakes import TalkingRunner

class SecretRunner(TalkingRunner):
    def submit(self, batch):
        pending = super().submit(batch)
        def step():
            result = pending()
            result.pieces[:] = [" {MODEL_WORDS}"] * len(result.pieces)
            return result
        return step

serve.runner_factory = lambda settings: lambda: SecretRunner(settings.slots)
sys.exit(cli.main(["serve", "--verbose", "--port", "0", "--slots", "2", "--log-format", "json"]))
"""


async def call(address: str) -> tuple[list[bytes], str]:
    """Hold a call with the words in every place; return its audio packets in both directions, and its id."""
    words = CALLER_WORDS.encode()
    sounds: list[bytes] = []
    async with open_chat(f"ws://{address}/api/chat?events=1&text_prompt={CALLER_WORDS}", AudioForm.RAW) as client:
        await client.handshake()
        for frame in speech(5):
            sounds += client.wire.audio(packets := OpusEncoder().encode(frame))
            for message in client.wire.audio(packets):
                await client.socket.send(message)
            await client.receive_frame()
        for message in (b"\2" + words, b'\4{"say": "' + words + b'"}', b"\4{" + words, b"\1" + words, b"\x63" + words):
            await client.socket.send(message)
        assert MODEL_WORDS in client.texts[0]
        assert "ignored" in await client.error()
        ready = await client.event("ready")
    async with open_chat(f"ws://{address}/api/chat?events=1&seed={CALLER_WORDS}") as refused:
        assert "seed" in await refused.error()
    async with open_chat(f"ws://{address}/api/chat") as broken:
        await broken.handshake()
        await broken.socket.send(CALLER_WORDS)  # a text message: ends the call
        assert (await broken.wait_closed())[0] == 1008
    return sounds + client.audio_messages, ready["call"]


async def serve_a_call() -> tuple[list[str], list[bytes], str]:
    """The log of a server that serves one call, the audio packets of the call, and its id."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    try:
        assert running.stdout and running.stderr
        async with asyncio.timeout(TIMEOUT_S):
            listening = (await running.stdout.readline()).decode()
            found = LISTENING.search(listening)
            assert found, listening
            before = b""
            while b"ready" not in before:
                before += (line := await running.stderr.readline())
                assert line, "the server ended"
            sounds, call_id = await call(found[1])
            running.send_signal(signal.SIGTERM)
            out, err = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    assert not out
    return (before + err).decode().splitlines(), sounds, call_id


async def test_log_has_no_words_and_no_audio_of_a_call():
    lines, sounds, call_id = await serve_a_call()
    log = "\n".join(lines)
    for word in (CALLER_WORDS, MODEL_WORDS):
        assert not any(form in log for form in forms(word.encode())), word
    assert len(sounds) > 20
    for sound in sounds:
        assert not any(form in log for form in forms(sound[5:25]))
    started, summary = (json.loads(line) for line in lines if call_id in line)
    assert started["message"] == "call started" and summary["message"] == "call ended"
    assert summary["why"] == "left" and summary["frames"] == 5 and summary["messages_invalid"] >= 1
    assert (summary["frames_late"], summary["frames_skipped"]) == (0, 0)
    assert 0 < summary["turnaround_p50_ms"] <= summary["turnaround_p99_ms"]
    assert summary["received_bytes"] > 200 and summary["sent_bytes"] > 200
    assert all(json.loads(line)["logger"] for line in lines)


def forms(data: bytes) -> list[str]:
    """The forms in which `data` could appear in a log."""
    in_base64 = (base64.b64encode(data[start:])[4:-4].decode() for start in range(3))
    return [repr(data)[2:-1], data.hex(), *in_base64]
