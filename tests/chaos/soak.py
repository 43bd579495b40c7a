"""Calls for as long as a long day's, and what may not have grown after that: memory, threads, file handles, delay."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.audio.framing import FRAME_S
from server.engine.bridge import Open, Stepped
from server.engine.engine import Engine
from server.engine.runner import Runner
from server.session import Session, SessionParams
from tests.chaos.crowd import SPEECH
from tests.fakes import FakeBridge, FakeClock
from tests.server.conftest import Served
from tests.server.phone import Phone, dial

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MAY_GROW_MB = 8.0  # between the first third and the last: an allocator's own moods


@dataclass(frozen=True)
class Sample:
    """What the process holds."""

    memory_mb: float
    threads: int
    handles: int


def sample() -> Sample:
    """What this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(pages * _PAGE_BYTES / 1e6, threading.active_count(), len(os.listdir("/proc/self/fd")))


def assert_flat(samples: list[Sample]) -> str:
    """Compare the middle of the first third with that of the last; the line that says how it went."""
    third = max(1, len(samples) // 3)
    early, late = samples[:third], samples[-third:]
    memory, threads, handles = (
        [float(np.median([getattr(s, name) for s in part])) for part in (early, late)]
        for name in ("memory_mb", "threads", "handles")
    )
    line = f"memory {memory[0]:.1f} → {memory[1]:.1f} MB, threads {threads[0]:.0f} → {threads[1]:.0f}, "
    line += f"handles {handles[0]:.0f} → {handles[1]:.0f}"
    assert memory[1] - memory[0] < MAY_GROW_MB and threads[1] <= threads[0] and handles[1] <= handles[0], line
    return line


async def in_real_time(served: Served, seconds: float, samples: list[Sample]) -> tuple[float, float]:
    """Every slot in use; p99 of the delay in ms in the first and in the last part of that time."""
    phones: list[Phone] = []
    delays_ms: list[tuple[float, float]] = []
    begun_at = time.perf_counter()

    async def caller() -> None:
        async with dial(served.chat) as phone:
            phones.append(phone)
            await phone.greeting()
            due, number = time.perf_counter(), 0
            while time.perf_counter() < begun_at + seconds:
                await asyncio.sleep(due - time.perf_counter())
                said_at = time.perf_counter()
                await phone.say(SPEECH[number % len(SPEECH)])
                await phone.hear()
                delays_ms.append((said_at, 1e3 * (time.perf_counter() - said_at)))
                due, number = max(due + FRAME_S, said_at), number + 1

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds / 60)
            samples.append(sample())
            for phone in phones:
                phone.audio_messages.clear()

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(caller() for _ in range(served.reception.slots)))
    watching.cancel()
    part = begun_at + seconds / 4, begun_at + 3 * seconds / 4
    first, last = [ms for at, ms in delays_ms if at < part[0]], [ms for at, ms in delays_ms if at > part[1]]
    return float(np.percentile(first, 99)), float(np.percentile(last, 99))


def as_fast_as_they_go(runner: Runner, frames: int, samples: list[Sample]) -> int:
    """So many frames through the engine on a virtual clock, one caller in every slot; how many were answered."""
    clock, bridge = FakeClock(), FakeBridge()
    engine = Engine(lambda: runner, bridge, clock)  # type: ignore[arg-type]
    engine.set_up(runner)
    sessions = [Session(SessionParams(text_seed=at, audio_seed=at), clock) for at in range(runner.slots)]
    bridge.queued += [Open(session) for session in sessions]
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
            samples.append(sample())
    engine.check_integrity()
    return answered
