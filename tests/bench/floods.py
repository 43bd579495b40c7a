"""A caller on the echo while somebody floods the server: what a neighbour notices of each flood.

The flood comes from a process of its own (`flooder.py`). Frames are counted that were sent between its first and its
last request, and those of the seconds before, alone: on a busy machine, all calls have the same share of its moods.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.audio.framing import FRAME_S
from server.dialects.kyutai_protocol import AudioForm
from server.load.figures import call_figures
from server.load.measured_call import CallSpec, MeasuredCall
from server.load.speech import encoded_speech
from tests.bench.flooder import FLOODS, MODULE_BYTES, REQUESTS, UNANSWERED
from tests.bench.parley import parley
from tests.bench.processes import ROOT, BenchError, BenchServer
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

ALONE_S = 6.0  # before each flood
FLOOD_S = 15.0
OBSERVED_S = 3.0  # of the neighbour's call, at least, where a flood is refused at once
MAX_ADDED_P99_MS = 20.0  # more than alone
SLOTS = 4

NAMES = {
    "modules": f"64 sockets ask for a module of {MODULE_BYTES // 1000} KB with gzip",
    "probes": f"{REQUESTS:,} requests of /healthz and /metrics",
    "addresses": "1,000 addresses load the page",
    "half_open": "sixteen upgrades that one parser refuses",
    "page": "another site's page in a browser",
}


@dataclass(frozen=True, slots=True)
class FloodFigures:
    """What a neighbour noticed, and what the flood got."""

    frames: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    seconds: float
    answers: dict[str, int]
    received_bytes: int
    longest_s: float


def measure(bench: Workbench) -> BenchPart:
    figures: dict[str, FloodFigures] = {}
    alone_ms = np.array([])
    for name in FLOODS:
        bench.say(f"a caller on the echo, and {NAMES[name]}")
        with parley("echo", bench.file(f"flood-{name}.log"), slots=SLOTS) as server:
            before_ms, figures[name] = asyncio.run(_neighbour(server, name))
        alone_ms = np.concatenate([alone_ms, before_ms])
    p50_ms, p99_ms = (float(value) for value in np.percentile(alone_ms, (50, 99)))
    limit_ms = p99_ms + MAX_ADDED_P99_MS
    return BenchPart(
        title=f"A neighbour on the echo during floods of at most {FLOOD_S:.0f} s: turnaround p50 · p99",
        rows=[
            BenchRow("alone", f"{p50_ms:.1f} · {p99_ms:.1f} ms"),
            *(_row(name, its, limit_ms) for name, its in figures.items()),
        ],
        figures={"alone": {"frames": len(alone_ms), "p50_ms": p50_ms, "p99_ms": p99_ms}}
        | {name: asdict(its) for name, its in figures.items()},
    )


def _row(name: str, figures: FloodFigures, limit_ms: float) -> BenchRow:
    turnaround = f"{figures.p50_ms:.1f} · {figures.p99_ms:.1f} ms"
    answers = ", ".join(f"{number:,} × {status}" for status, number in sorted(figures.answers.items()))
    lost = f"; {figures.unanswered} frames unanswered" if figures.unanswered else ""
    is_answered = name != "half_open" or UNANSWERED not in figures.answers  # the others ask again until the end
    return BenchRow(
        NAMES[name],
        f"{turnaround}{lost}; {answers} in {figures.seconds:.1f} s",
        target=f"p99 under {limit_ms:.0f} ms" + (", all answered" if name == "half_open" else ""),
        met=figures.p99_ms < limit_ms and not figures.unanswered and is_answered,
    )


async def _neighbour(server: BenchServer, flood: str) -> tuple[NDArray[np.float64], FloodFigures]:
    """Call the server before and during `flood`. Returns the turnaround alone, in ms, and what came of the flood."""
    port = int(server.url.rpartition(":")[2])
    frames = round((ALONE_S + FLOOD_S + 60) / FRAME_S)  # hung up before
    call = MeasuredCall(CallSpec(f"ws://127.0.0.1:{port}/api/chat", AudioForm.OGG, encoded_speech(None), frames))
    calling = asyncio.create_task(call.run())
    while len(call.record.received_at) < ALONE_S / FRAME_S:
        if calling.done():
            raise BenchError(f"the neighbour's call failed: {call.record.failure}")
        await asyncio.sleep(FRAME_S)
    outcome = await _flood(port, flood)
    observed_until = max(outcome["ended_at"], outcome["started_at"] + OBSERVED_S)
    await asyncio.sleep(observed_until - time.perf_counter())
    call.hang_up()
    await calling
    found = call_figures(call.record)
    before = found.sent_at < outcome["started_at"]
    during = ~before & (found.sent_at < observed_until)
    answered_ms = found.turnaround_ms[during & ~np.isnan(found.turnaround_ms)]
    if not len(answered_ms):
        raise BenchError(f"no frame was answered during the flood: {call.record.failure}")
    p50_ms, p99_ms = np.percentile(answered_ms, (50, 99))
    return found.turnaround_ms[before & ~np.isnan(found.turnaround_ms)], FloodFigures(
        frames=int(during.sum()),
        unanswered=int(during.sum()) - len(answered_ms),
        p50_ms=float(p50_ms),
        p99_ms=float(p99_ms),
        seconds=outcome["ended_at"] - outcome["started_at"],
        answers=outcome["answers"],
        received_bytes=outcome["received_bytes"],
        longest_s=outcome["longest_s"],
    )


async def _flood(port: int, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.flooder", str(port), name, str(FLOOD_S)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), FLOOD_S + 30)
    except TimeoutError as error:
        raise BenchError(f"the flood {name} did not end") from error
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise BenchError(f"the flood {name} ended with status {process.returncode}")
    return json.loads(output)
