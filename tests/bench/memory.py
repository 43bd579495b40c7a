"""The model over ten thousand frames, thirteen minutes of a call, as fast as possible: memory must not grow.

`measure` starts this module in its own process, in which `main` steps the runner.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch
from server.engine.model_runner import load_runner
from tests.bench.processes import run_alone, status_bytes
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

FRAMES = 10_000
SLOTS = 8
SAMPLE_EVERY = 500  # frames; by the first sample the rings are full and the allocator has seen every size
TIMEOUT_S = 180
MAX_RESIDENT_BYTES = 1.2e9
MAX_GROWTH_BYTES = 4e6  # over all frames: 400 bytes a frame would show


def measure(bench: Workbench) -> BenchPart:
    bench.say(f"{FRAMES:,} frames without pauses")
    figures, _ = run_alone(__spec__.name, str(bench.checkpoint), within_s=TIMEOUT_S + 60)
    start, middle, end = figures["resident_bytes"]
    stopped = "" if figures["frames"] == FRAMES else f", stopped after {TIMEOUT_S} s"
    return BenchPart(
        title=f"The model's memory over {figures['frames']:,} frames{stopped}",
        rows=[
            BenchRow(
                "resident at the end",
                f"{end / 1e9:.3f} GB",
                target=f"under {MAX_RESIDENT_BYTES / 1e9:g} GB",
                met=end < MAX_RESIDENT_BYTES,
            ),
            BenchRow(
                "growth by the middle, by the end",
                f"{(middle - start) / 1e6:+.1f}, {(end - start) / 1e6:+.1f} MB",
                target=f"under {MAX_GROWTH_BYTES / 1e6:g} MB",
                met=end - start < MAX_GROWTH_BYTES,
            ),
            BenchRow("mean step", f"{figures['step_ms']:.1f} ms"),
        ],
        figures=figures,
    )


def main(checkpoint: str) -> dict[str, Any]:
    """Step one of the runner's slots; returns sizes after it has settled, in the middle and at the end."""
    runner = load_runner(checkpoint, SLOTS, "cpu", "float32")
    runner.warm_up()
    noise = np.random.default_rng(0).normal(0, 0.1, (64, 1, FRAME_SAMPLES)).astype(np.float32)
    active = np.ones(1, np.bool_)
    started_at, frames = time.monotonic(), 0
    sizes: list[int] = []
    while frames < FRAMES and time.monotonic() - started_at < TIMEOUT_S:
        runner.submit(Batch(noise[frames % len(noise)], active))()
        frames += 1
        if frames % SAMPLE_EVERY == 0:
            sizes.append(status_bytes("self", "VmRSS"))
    return {
        "frames": frames,
        "step_ms": 1e3 * (time.monotonic() - started_at) / frames,
        "resident_bytes": [sizes[0], sizes[len(sizes) // 2], sizes[-1]],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
