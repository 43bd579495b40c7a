"""Measure the kernels on this GPU: `python -m model.kernels.tune [--out FILE.json] [--sweep]`.

For every large weight of the 7B and every number of rows, and for attention over full rings: microseconds, and which
share of the bandwidth of a device copy the bytes that must be read make of it, beside torch. Each product and each
ring is read from memory, not from cache: several copies take turns in one CUDA graph. With --sweep other tiles are
tried too, and the best are printed, for `tiles_for`. Knows the shapes of one model, and nothing of serving.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.command_line import print_to_any_terminal
from model.kernels import available
from model.quantize import EIGHT_BIT, quantize

SHAPES = {  # outputs, depth, gated
    "temporal in_proj": (12_288, 4096, False),
    "temporal out_proj": (4096, 4096, False),
    "temporal gating in": (22_528, 4096, True),
    "temporal gating out": (4096, 11_264, False),
    "text head": (32_000, 4096, False),
    "depth input": (8192, 4096, False),
    "depth in_proj": (3072, 1024, False),
    "depth out_proj": (1024, 1024, False),
    "depth gating in": (5632, 1024, True),
    "depth gating out": (1024, 2816, False),
    "depth head": (2048, 1024, False),
}
ROWS = (1, 4, 16)
HEADS, CAPACITY, HEAD_DIM = 32, 3000, 128
_COLD_BYTES = 1 << 29  # read in turn: several times any cache


def seconds(calls: list[Callable[[], Any]], repeats: int = 15) -> float:
    """The median time of one of these calls, played in turn from a CUDA graph."""
    for call in calls[:2]:
        call()  # compiled before it is captured
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times = []
    for _ in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / len(calls))
    return statistics.median(times[3:])


def copy_bandwidth() -> float:
    """Bytes a second that a device copy reads and writes."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_(0, 255)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds([lambda: target.copy_(source)])


def copies(tensor: Tensor) -> list[Tensor]:
    return [tensor, *(tensor.clone() for _ in range(min(256, _COLD_BYTES // tensor.nbytes)))]


def measure_product(name: str, rows: int, dtype: torch.dtype, sweep: bool) -> dict[str, Any]:
    """One weight, so many rows: ours, torch's, and perhaps the best of other tiles."""
    from model.kernels.skinny_linear import Tiles, multiply, tiles_for

    outputs, depth, gated = SHAPES[name]
    weight = torch.randn(outputs, depth, device="cuda") / depth**0.5
    weight, scale = quantize(weight, dtype) if dtype in EIGHT_BIT else (weight.to(dtype), None)
    weights = copies(weight)
    x = torch.randn(rows, depth, device="cuda", dtype=torch.bfloat16)
    needed_bytes = weight.nbytes + (0 if scale is None else scale.nbytes) + x.nbytes + 2 * rows * outputs

    def ours(tiles: Tiles) -> float:
        return seconds([lambda w=w: multiply(x, w, scale, tiles, gated=gated) for w in weights])

    tiles = tiles_for(rows, outputs, depth, weight.element_size(), 2, gated)
    row: dict[str, Any] = {
        "name": name,
        "rows": rows,
        "dtype": str(dtype).removeprefix("torch."),
        "bytes": needed_bytes,
    }
    row |= {"tiles": tiles._asdict(), "s": ours(tiles)}
    if scale is None:
        row["torch_s"] = seconds([lambda w=w: F.linear(x, w) for w in weights])
    if sweep:
        choices = product((16, 32, 64, 128), (128, 256, 512), (3, 4, 6), (2, 4, 8))
        tried = {}
        for block, row_bytes, stages, warps in choices:
            other = Tiles(16, block, row_bytes // weight.element_size(), stages, warps)
            try:
                tried[other] = ours(other)
            except Exception as error:  # a chip refuses what its shared memory does not hold
                print(f"{name}: {other}: {type(error).__name__}", file=sys.stderr)
        best = min(tried, key=tried.__getitem__)
        row |= {"best_tiles": best._asdict(), "best_s": tried[best]}
    return row


def measure_attention(slots: int, dtype: torch.dtype) -> dict[str, Any]:
    """One layer of the temporal transformer, so many full rings."""
    from model.kernels.ring_attention import ring_attention

    def ring() -> tuple[Tensor, Tensor | None]:
        numbers = torch.randn(slots, HEADS, CAPACITY, HEAD_DIM, device="cuda", dtype=torch.bfloat16)
        return quantize(numbers, dtype) if dtype in EIGHT_BIT else (numbers, None)

    (keys, key_scales), (values, value_scales) = ring(), ring()
    query = torch.randn(slots, HEADS, 1, HEAD_DIM, device="cuda", dtype=torch.bfloat16)
    length = torch.full((slots,), 10 * CAPACITY, device="cuda")
    active = torch.ones(slots, dtype=torch.bool, device="cuda")
    held = (keys, values, *(scales for scales in (key_scales, value_scales) if scales is not None))
    taken = seconds(
        [
            lambda k=k, v=v: ring_attention(query, k, v, length, active, key_scales, value_scales)
            for k, v in zip(copies(keys), copies(values), strict=True)
        ]
    )
    dtype_name = str(dtype).removeprefix("torch.")
    return {
        "name": "ring attention",
        "rows": slots,
        "dtype": dtype_name,
        "bytes": sum(t.nbytes for t in held),
        "s": taken,
    }


def main() -> None:
    """Print the table, and write it as JSON."""
    print_to_any_terminal()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write the rows to this file as JSON")
    parser.add_argument("--sweep", action="store_true", help="try other tiles too; takes minutes")
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() and available(torch.empty(0, device="cuda"))):
        sys.exit("The kernels are measured on a CUDA GPU with Triton, and there is none here.")
    bandwidth = copy_bandwidth()
    chip = torch.cuda.get_device_name()
    print(f"{chip}: a device copy moves {bandwidth / 1e9:.0f} GB/s; shares are of that")
    rows = []
    has_fp8 = torch.cuda.get_device_capability() >= (8, 9)
    for dtype in (torch.bfloat16, *(EIGHT_BIT if has_fp8 else (torch.int8,))):
        cases: list[Callable[[], dict[str, Any]]] = [
            lambda n=n, r=r, d=dtype: measure_product(n, r, d, arguments.sweep) for n, r in product(SHAPES, ROWS)
        ]
        cases += [lambda s=s, d=dtype: measure_attention(s, d) for s in (1, 8, 32)]
        for case in cases:
            row = case()
            rows.append(row)
            parts = [f"{row['name']:20} {row['rows']:3} rows {row['dtype']:14} {row['s'] * 1e6:8.1f} µs"]
            for key, label in (("s", "ours"), ("torch_s", "torch"), ("best_s", "best")):
                if key in row:
                    parts.append(f"{label} {row['bytes'] / row[key] / bandwidth:5.1%}")
            print("  ".join(parts), row.get("best_tiles", ""), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps({"chip": chip, "copy_bytes_per_s": bandwidth, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
