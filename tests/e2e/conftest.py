"""A real server in a process of its own, and browsers to call it with."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
import soundfile
import soxr
from playwright.async_api import Browser, Page

from tests.e2e.browser import FOREIGN_HOST, MIC_HZ, open_browser, open_page, write_wav
from tests.e2e.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[2]
QUESTIONS = Path(__file__).parent / "questions"
START_S = 60


@dataclass(frozen=True)
class ServerProcess:
    """A running server."""

    url: str
    process: asyncio.subprocess.Process

    @property
    def foreign_url(self) -> str:
        return self.url.replace("127.0.0.1", FOREIGN_HOST)


StartServer = Callable[..., Awaitable[ServerProcess]]


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def serving(*flags: str) -> AsyncIterator[ServerProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "serve", "--port", "0", *flags),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    output: list[str] = []
    try:
        async with asyncio.timeout(START_S):
            while not (url := re.search(r"http://127\.0\.0\.1:\d+", "".join(output))):
                line = await process.stdout.readline()
                assert line, f"the server did not start:\n{''.join(output)}"
                output.append(line.decode())
            rest = asyncio.create_task(process.stdout.read())  # so that the pipe does not fill up
            async with httpx.AsyncClient() as client:
                while not await _is_ready(client, url[0]):
                    assert not rest.done(), f"the server ended:\n{rest.result().decode()}"
                    await asyncio.sleep(0.1)
        yield ServerProcess(url[0] + "/", process)
        rest.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                with suppress(ProcessLookupError):  # it may have ended meanwhile
                    process.kill()
                await process.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def serve() -> AsyncIterator[StartServer]:
    """``await serve("--model", "echo")``: a server that is ready. It is stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start(*flags: str) -> ServerProcess:
            return await stack.enter_async_context(serving(*flags))

        yield start


def _speech_like(seconds: float) -> np.ndarray:
    """A voice that never repeats: changing pitch and vowels, syllables, pauses. f32 [samples]."""
    rng = np.random.default_rng(7)
    samples = round(seconds * MIC_HZ)
    t = np.arange(samples) / MIC_HZ

    def wander(low: float, high: float, per_s: float) -> np.ndarray:
        knots = rng.uniform(low, high, round(seconds * per_s) + 2)
        return np.interp(t, np.linspace(0, seconds, len(knots)), knots)

    phase = 2 * np.pi * np.cumsum(wander(90, 220, 3)) / MIC_HZ
    formants = [wander(300, 800, 4), wander(900, 2200, 4)]
    pitch = np.gradient(phase) * MIC_HZ / (2 * np.pi)
    voice = np.zeros(samples)
    for harmonic in range(1, 24):
        strength = sum(np.exp(-(((harmonic * pitch - formant) / 250) ** 2)) for formant in formants)
        voice += (strength + 0.03) * np.sin(harmonic * phase)
    loud = np.clip(wander(-0.3, 1, 5), 0, None)
    return (0.3 * voice * loud / np.abs(voice).max() + 1e-4 * rng.standard_normal(samples)).astype(np.float32)


@pytest.fixture(scope="session")
def microphone_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("microphone") / "voice.wav", 2 * _speech_like(15))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(microphone_wav: Path) -> AsyncIterator[Browser]:
    """A browser whose microphone plays the voice in a loop."""
    async with open_browser(microphone=microphone_wav) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Browser) -> AsyncIterator[Browser]:
    """The browser; its pages are closed after the test."""
    yield browser
    for context in browser.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def echo_page(pages: Browser, serve: StartServer) -> Page:
    """The page of an echo server, with permission to use the microphone."""
    return await open_page(pages, (await serve("--model", "echo")).url)


@pytest_asyncio.fixture(loop_scope="session")
async def asking_browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """A browser whose microphone asks "What is your name?" every ten seconds."""
    asked, rate_hz = soundfile.read(QUESTIONS / "what_is_your_name.wav", dtype="float32")
    asked = soxr.resample(asked, rate_hz, MIC_HZ)
    rest = np.zeros(10 * MIC_HZ - len(asked))
    path = write_wav(tmp_path / "question.wav", np.concatenate([rest[: 2 * MIC_HZ], asked, rest[2 * MIC_HZ :]]))
    async with open_browser(microphone=path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser_without_microphone() -> AsyncIterator[Browser]:
    """A browser on a machine without any microphone."""
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server
