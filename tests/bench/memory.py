"""The model over ten thousand frames, thirteen minutes of a call, as fast as they go: memory stays where it is.

The file is both sides: `measure` starts it as a process of its own, in which `main` steps the runner.
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
from tests.bench.report import Part, Row
from tests.bench.workbench import Workbench

FRAMES = 10_000
SLOTS = 8
SETTLED_AFTER = 500  # frames: the rings are full, and the allocator has seen every size
AT_MOST_S = 180
RESIDENT_BYTES = 1.2e9
GROWTH_BYTES = 4e6  # over all frames: 400 bytes a frame would show


def measure(bench: Workbench) -> Part:
    bench.say(f"{FRAMES:,} frames without a pause")
    figures, _ = run_alone(__spec__.name, str(bench.checkpoint), within_s=AT_MOST_S + 60)
    start, middle, end = figures["resident_bytes"]
    cut_short = "" if figures["frames"] == FRAMES else f", cut short after {AT_MOST_S} s"
    return Part(
        title=f"The model's memory over {figures['frames']:,} frames{cut_short}",
        rows=[
            Row(
                "resident at the end",
                f"{end / 1e9:.3f} GB",
                bar=f"under {RESIDENT_BYTES / 1e9:g} GB",
                met=end < RESIDENT_BYTES,
            ),
            Row(
                "grown by the middle, by the end",
                f"{(middle - start) / 1e6:+.1f}, {(end - start) / 1e6:+.1f} MB",
                bar=f"under {GROWTH_BYTES / 1e6:g} MB",
                met=end - start < GROWTH_BYTES,
            ),
            Row("a step, on average", f"{figures['step_ms']:.1f} ms"),
        ],
        figures=figures,
    )


def main(checkpoint: str) -> dict[str, Any]:
    """Step one of the runner's slots; sizes after it has settled, in the middle and at the end."""
    runner = load_runner(checkpoint, SLOTS, "cpu", "float32")
    runner.warm_up()
    noise = np.random.default_rng(0).normal(0, 0.1, (64, 1, FRAME_SAMPLES)).astype(np.float32)
    active = np.ones(1, np.bool_)
    begun_at, frames = time.monotonic(), 0
    sizes: list[int] = []
    while frames < FRAMES and time.monotonic() - begun_at < AT_MOST_S:
        runner.submit(Batch(noise[frames % len(noise)], active))()
        frames += 1
        if frames % SETTLED_AFTER == 0:
            sizes.append(status_bytes("self", "VmRSS"))
    return {
        "frames": frames,
        "step_ms": 1e3 * (time.monotonic() - begun_at) / frames,
        "resident_bytes": [sizes[0], sizes[len(sizes) // 2], sizes[-1]],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
