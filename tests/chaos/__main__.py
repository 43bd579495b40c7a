"""`make chaos` and `make soak`: the tests of this directory at full length, with their measurements."""

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
from server.transport import rate_limit
from tests.chaos.caller import CallTally
from tests.chaos.control_caller import ControlCaller
from tests.chaos.kills import WAYS, kill_server, read_recordings
from tests.chaos.random_callers import assert_counts_agree, run_callers
from tests.chaos.resuming import RESUME_S
from tests.chaos.soak import ProcessUsage, as_fast_as_possible, assert_flat, in_real_time, process_usage
from tests.server.conftest import run_server

CALLERS, ROUND_S, ROUNDS, CONTROL_S, KILLS = 200, 600.0, 3, 60.0, 200
SOAK_S, SOAK_SLOTS, SOAK_FRAMES = 45 * 60.0, 16, 4 * 3600 * 25 // 2  # 4 h of frames, 12.5 a second
_SETTINGS = {"drain_s": 0, "resume_s": RESUME_S, "stalled_s": 2.0}


async def random_callers(share: float, seed: int) -> None:
    """Two hundred random callers on the echo. Afterwards no session may be left."""
    settings = Settings(model="echo", slots=64, max_waiting=32, **_SETTINGS)  # type: ignore[arg-type]
    tally = CallTally()
    samples: list[ProcessUsage] = []
    async with run_server(runner_factory(settings), settings, True) as served:
        for number in range(ROUNDS):
            await run_callers(
                served, round(CALLERS * min(1, 5 * share)), ROUND_S * share / ROUNDS, seed + number, tally
            )
            await assert_counts_agree(served, tally)
            gc.collect()
            samples.append(process_usage())
    outcomes = f"{tally.left_early} left early, {tally.failed_connects} failed to connect, {tally.resumed} resumed"
    print(f"random callers: {tally.answered} answered requests, ended by {dict(tally.end_reasons)}", flush=True)
    print(f"random callers: {outcomes}; {assert_flat(samples)}", flush=True)


async def isolation(share: float, seed: int) -> None:
    """A well-behaved caller of a small Moshi, among others that are not, which must not change its tokens."""
    pacing.SILENCE_AFTER_S = pacing.AHEAD_S = rate_limit.SOUND_S_PER_S = 1e9  # type: ignore[misc]  # time is counted in frames
    settings = Settings(model="echo", slots=4, max_waiting=4, **_SETTINGS)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as directory:
        control = ControlCaller(Path(directory), slots=4)
        async with run_server(lambda: control.runner, settings, True) as served:
            others = asyncio.create_task(run_callers(served, 8, CONTROL_S * share, seed))
            in_company = await control.converse(served, 100, while_running=others)
            company, moves = control.company, control.moves
            await assert_counts_agree(served, await others, others=1, others_resumed=moves)
            alone = await control.converse(served, 100, frames_in_all=len(in_company))
    assert in_company == alone[: len(in_company)], "another caller changed the tokens"
    print(
        f"isolation: {len(in_company)} frames have the same tokens as alone, over {moves + 1} connections, "
        f"beside up to {company} others",
        flush=True,
    )


async def kills(share: float, seed: int) -> None:
    """Two hundred servers, one after another on one port, each killed during calls."""
    rng, port, count = random.Random(seed), 0, max(1, round(KILLS * share))
    with tempfile.TemporaryDirectory() as directory:
        for number in range(count):
            port = await kill_server(WAYS[number % len(WAYS)], port, Path(directory), rng)
        recordings = read_recordings(Path(directory))
    print(f"kills: {count} servers, each followed by a clean start; {recordings} recordings are intact", flush=True)


async def soak(share: float, seed: int) -> None:
    """Full slots in real time, on the echo; `frames` does the same for the model."""
    settings = Settings(model="echo", slots=SOAK_SLOTS, **_SETTINGS)  # type: ignore[arg-type]
    samples = []
    async with run_server(runner_factory(settings), settings, True) as served:
        first_ms, last_ms = await in_real_time(served, SOAK_S * share, samples)
        counts = served.service.counts
    print(
        f"soak: {SOAK_S * share:.0f} s, {SOAK_SLOTS} slots, "
        f"{counts[Count.SESSIONS_ENDED]} calls, {counts[Count.FRAMES]:,} frames, "
        f"{counts[Count.FRAMES_SILENCE]} of silence; turnaround p99 {first_ms:.1f} → {last_ms:.1f} ms",
        flush=True,
    )
    print(f"soak: {assert_flat(samples)}", flush=True)


async def frames(share: float, seed: int) -> None:
    """Frames as fast as possible, on the echo and on a small Moshi."""
    with tempfile.TemporaryDirectory() as directory:
        makers: dict[str, Callable[[], Runner]] = {
            "echo": runner_factory(Settings(model="echo", slots=8)),
            "Moshi": lambda: ControlCaller(Path(directory), slots=2).plain(),
        }
        for name, make in makers.items():
            samples = []
            answered = as_fast_as_possible(make(), round(SOAK_FRAMES * share), samples)
            print(f"frames: {answered:,} on the {name}; {assert_flat(samples)}", flush=True)


def main() -> int:
    """Returns the exit status; a failed check raises."""
    parts = {"chaos": (random_callers, isolation, kills), "soak": (soak, frames)}
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("what", nargs="?", choices=[*parts], default="chaos", help="what to run (default: %(default)s)")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="FRACTION", help="share of the full length (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of the random behaviour (default: %(default)s)"
    )
    args = parser.parse_args()
    for part in parts[args.what]:
        asyncio.run(part(args.share, args.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
