"""Loading a file of 2 GB: how much memory it takes beyond the weights themselves.

Only anonymous memory counts, because the system can drop pages of the file. The file has the published depth
transformer and embeddings, so its largest tensors are half the size of a 7B's. `measure` starts `main` in its own
process and watches it from outside.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import write_checkpoint
from tests.bench.processes import run_alone
from tests.bench.report import BenchPart, BenchRow
from tests.bench.workbench import Workbench

SHAPE = {"dim": 2048, "num_heads": 16, "num_layers": 4}  # of a 7B otherwise: 1.0 billion parameters
MAX_EXTRA_BYTES = 2**30
TIMEOUT_S = 120


def measure(bench: Workbench) -> BenchPart:
    bench.say("writing a checkpoint of 2 GB")
    directory = bench.file("large")
    write_checkpoint(directory, SHAPE, dtype=torch.bfloat16)
    part = BenchPart(f"Loading {(directory / 'model.safetensors').stat().st_size / 1e9:.2f} GB of bfloat16")
    for dtype in ("bfloat16", "float32"):
        bench.say(f"loading it as {dtype}")
        loaded, peak_bytes = run_alone(__spec__.name, str(directory), dtype, within_s=TIMEOUT_S)
        extra_bytes = peak_bytes - loaded["weights_bytes"]
        part.rows.append(
            BenchRow(
                f"peak above the weights, as {dtype}",
                f"{extra_bytes / 2**30:.2f} GiB above {loaded['weights_bytes'] / 2**30:.2f}, {loaded['seconds']:.1f} s",
                target=f"at most {MAX_EXTRA_BYTES / 2**30:g} GiB",
                met=extra_bytes <= MAX_EXTRA_BYTES,
            )
        )
        part.figures[dtype] = loaded | {"peak_bytes": peak_bytes}
    return part


def main(directory: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Build the model; returns the size of its tensors and how long it took."""
    started_at = time.monotonic()
    duplex, _ = build(find(in_directory(directory)), torch.device("cpu"), dtype)
    held = [*duplex.parameters(), *duplex.buffers()]
    return {"weights_bytes": sum(tensor.nbytes for tensor in held), "seconds": time.monotonic() - started_at}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), getattr(torch, sys.argv[2]))))
