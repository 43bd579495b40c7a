"""`make chaos` and `make soak`: the tests of this directory at full length, and what they measured."""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from server.commands.serve import runner_factory
from server.engine.runner import Runner
from server.metrics import Count
from server.sessions import pacing
from server.settings import Settings
from tests.chaos.caller import Ledger
from tests.chaos.crowd import settle_accounts, storm
from tests.chaos.kills import WAYS, kill_one, read_all
from tests.chaos.returning import RESUME_S
from tests.chaos.soak import Sample, as_fast_as_they_go, assert_flat, in_real_time, sample
from tests.chaos.witness import Witness
from tests.server.conftest import served_by

CALLERS, STORM_S, STORMS, WITNESS_S, KILLS = 200, 600.0, 3, 60.0, 200
SOAK_S, SOAK_SLOTS, SOAK_FRAMES = 45 * 60.0, 16, 4 * 3600 * 25 // 2  # 4 h of frames, 12.5 a second
_SETTINGS = {"drain_s": 0, "resume_s": RESUME_S, "stalled_s": 2.0}


async def weather(share: float, seed: int) -> None:
    """Two hundred callers on the echo, and nothing left of them."""
    settings = Settings(model="echo", slots=64, max_waiting=32, **_SETTINGS)  # type: ignore[arg-type]
    ledger = Ledger()
    samples: list[Sample] = []
    async with served_by(runner_factory(settings), settings, True) as served:
        for number in range(STORMS):
            await storm(served, round(CALLERS * min(1, 5 * share)), STORM_S * share / STORMS, seed + number, ledger)
            await settle_accounts(served, ledger)
            gc.collect()
            samples.append(sample())
    left = f"{ledger.gone} left by themselves, {ledger.broken_off} never got through, {ledger.resumed} came back"
    print(f"storms: {ledger.asked} requests, told {dict(ledger.told)}, {left}; {assert_flat(samples)}", flush=True)


async def witnessed(share: float, seed: int) -> None:
    """One who behaves, on a small Moshi, among others who do not."""
    pacing.SILENCE_AFTER_S = pacing.AHEAD_S = 1e9  # type: ignore[misc]  # their time is that of the frames
    settings = Settings(model="echo", slots=4, max_waiting=4, **_SETTINGS)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as directory:
        witness = Witness(Path(directory), slots=4)
        async with served_by(lambda: witness.runner, settings, True) as served:
            raging = asyncio.create_task(storm(served, 8, WITNESS_S * share, seed))
            in_company = await witness.converse(served, 100, while_running=raging)
            company, moved = witness.company, witness.moved
            await settle_accounts(served, await raging, others=1, others_resumed=moved)
            alone = await witness.converse(served, 100, frames_in_all=len(in_company))
    assert in_company == alone[: len(in_company)], "a neighbour was heard"
    print(
        f"witness: {len(in_company)} frames token for token as alone, over {moved + 1} lines, "
        f"beside up to {company} others",
        flush=True,
    )


async def kills(share: float, seed: int) -> None:
    """Two hundred servers, one after the other on one port, each killed in mid-call."""
    chance, port, count = random.Random(seed), 0, max(1, round(KILLS * share))
    with tempfile.TemporaryDirectory() as directory:
        for number in range(count):
            port = await kill_one(WAYS[number % len(WAYS)], port, Path(directory), chance)
        recordings = read_all(Path(directory))
    print(f"kills: {count}, each start clean, every caller told or cut off, {recordings} recordings whole", flush=True)


async def soak(share: float, seed: int) -> None:
    """Full slots in real time, on the echo: what may grow here is not the model's, whose turn comes with `frames`."""
    settings = Settings(model="echo", slots=SOAK_SLOTS, **_SETTINGS)  # type: ignore[arg-type]
    samples = []
    async with served_by(runner_factory(settings), settings, True) as served:
        first_ms, last_ms = await in_real_time(served, SOAK_S * share, samples)
        counts = served.service.counts
    print(
        f"soak: {SOAK_S * share:.0f} s, {SOAK_SLOTS} slots, {counts[Count.SESSIONS_ENDED]} calls, "
        f"{counts[Count.FRAMES]:,} frames, "
        f"{counts[Count.FRAMES_SILENCE]} of silence; turnaround p99 {first_ms:.1f} → {last_ms:.1f} ms",
        flush=True,
    )
    print(f"soak: {assert_flat(samples)}", flush=True)


async def frames(share: float, seed: int) -> None:
    """Frames as fast as they go, on the echo and on a small Moshi."""
    with tempfile.TemporaryDirectory() as directory:
        makers: dict[str, Callable[[], Runner]] = {
            "echo": runner_factory(Settings(model="echo", slots=8)),
            "Moshi": lambda: Witness(Path(directory), slots=2).plain(),
        }
        for name, make in makers.items():
            samples = []
            answered = as_fast_as_they_go(make(), round(SOAK_FRAMES * share), samples)
            print(f"frames: {answered:,} on the {name}; {assert_flat(samples)}", flush=True)


def main() -> int:
    """The exit status; what is broken is raised."""
    parts = {"chaos": (weather, witnessed, kills), "soak": (soak, frames)}
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("what", nargs="?", choices=[*parts], default="chaos", help="default %(default)s")
    parser.add_argument("--share", type=float, default=1.0, help="of the full length (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed is other weather (default %(default)s)")
    args = parser.parse_args()
    for part in parts[args.what]:
        asyncio.run(part(args.share, args.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
