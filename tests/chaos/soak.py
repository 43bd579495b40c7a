"""Calls for hours, and a check that memory, threads, file handles and delay have not grown."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.audio.framing import FRAME_S
from server.engine.bridge import OpenSession, Stepped
from server.engine.engine import Engine
from server.engine.runner import Runner
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.chaos.caller import SPEECH
from tests.fakes import FakeBridge, FakeClock
from tests.server.chat_client import open_chat
from tests.server.conftest import RunningServer

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SHORT_CALL_S = 60.0
MAX_GROWTH_MB = 8.0  # from the first third to the last: allocators vary


@dataclass(frozen=True)
class ProcessUsage:
    """Resources of the process."""

    memory_mb: float
    threads: int
    handles: int


def process_usage() -> ProcessUsage:
    """Resources of this process now (Linux only)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return ProcessUsage(pages * _PAGE_BYTES / 1e6, threading.active_count(), len(os.listdir("/proc/self/fd")))


def assert_flat(samples: list[ProcessUsage]) -> str:
    """Assert that the median of the last third is not above that of the first. Returns both as text."""
    third = max(1, len(samples) // 3)
    early, late = samples[:third], samples[-third:]
    memory, threads, handles = (
        [float(np.median([getattr(s, name) for s in part])) for part in (early, late)]
        for name in ("memory_mb", "threads", "handles")
    )
    line = f"memory {memory[0]:.1f} → {memory[1]:.1f} MB, threads {threads[0]:.0f} → {threads[1]:.0f}, "
    line += f"handles {handles[0]:.0f} → {handles[1]:.0f}"
    assert memory[1] - memory[0] < MAX_GROWTH_MB and threads[1] <= threads[0] and handles[1] <= handles[0], line
    return line


async def in_real_time(served: RunningServer, seconds: float, samples: list[ProcessUsage]) -> tuple[float, float]:
    """Keep every slot in use. Returns the p99 of the delay in ms in the first and in the last quarter of the time.

    Every second slot has one call for the whole time; in the others, calls of a minute follow each other.
    """
    begun_at = time.perf_counter()
    ends_at = begun_at + seconds
    first_ms, last_ms = array("f"), array("f")  # compact, because memory is measured here too

    def note(sent_at: float) -> None:
        delay_ms = 1e3 * (time.perf_counter() - sent_at)
        if sent_at < begun_at + seconds / 4:
            first_ms.append(delay_ms)
        elif sent_at > ends_at - seconds / 4:
            last_ms.append(delay_ms)

    async def call(until: float) -> None:
        async with open_chat(f"{served.chat}?events=1") as client:
            await client.handshake()
            due, number = time.perf_counter(), 0
            while time.perf_counter() < until:
                await asyncio.sleep(due - time.perf_counter())
                sent_at = time.perf_counter()
                await client.send_frame(SPEECH[number % len(SPEECH)])
                await client.receive_frame()
                note(sent_at)
                due, number = max(due + FRAME_S, sent_at), number + 1
                client.audio_messages.clear()
                client.events.clear()

    async def caller(number: int) -> None:
        while (now := time.perf_counter()) < ends_at:
            await call(min(ends_at, now + SHORT_CALL_S) if number % 2 else ends_at)

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds / 60)
            samples.append(process_usage())

    watching = asyncio.create_task(watch())
    await asyncio.gather(*map(caller, range(served.service.slots)))
    watching.cancel()
    return float(np.percentile(first_ms, 99)), float(np.percentile(last_ms, 99))


def as_fast_as_possible(runner: Runner, frames: int, samples: list[ProcessUsage]) -> int:
    """Step `frames` through the engine on a virtual clock, with a caller in every slot. Returns the answered frames."""
    clock, bridge = FakeClock(), FakeBridge()
    engine = Engine(lambda: runner, bridge, clock)  # type: ignore[arg-type]
    engine.set_up(runner)
    sessions = [Session(SessionParams(text_seed=at, audio_seed=at), clock) for at in range(runner.slots)]
    bridge.queued += [OpenSession(session) for session in sessions]
    engine.tick()
    answered = 0
    for number in range(frames):
        for session in sessions:
            session.inbox.offer(SPEECH[number % len(SPEECH)], clock.now())
        engine.tick()
        clock.advance(FRAME_S)
        told = [notice for post in bridge.posts for notice in post if isinstance(notice, Stepped)]
        answered += sum(len(notice.replies) for notice in told)
        bridge.posts.clear()
        bridge.waits_s.clear()
        if number % max(1, frames // 60) == 0:
            samples.append(process_usage())
    engine.check_integrity()
    return answered
