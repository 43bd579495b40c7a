"""`python -m model.plan`, also `parley plan`: how many callers a GPU holds, and with which delay, before it is rented.

A roofline: datasheets, the model's own sizes and stated assumptions. Nothing here was measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.checkpoints.build import meta_model
from model.checkpoints.families import config_at
from model.checkpoints.moshi_config import duplex_config
from model.command_line import DTYPES, add_precision_flags, positive_int, print_to_any_terminal
from model.config import DuplexConfig
from model.errors import ModelError, UnfitDevice
from model.hardware.capacity import RESERVE_BYTES, Capacity, refuse_too_many, slots_in
from model.hardware.footprint import Footprint, Work, footprint, work
from model.hardware.gpus import GIB, GPUS, Gpu
from model.hardware.roofline import (
    CODEC_EFFICIENCY,
    COPY_EFFICIENCY,
    FRAME_S,
    KERNEL_EFFICIENCY,
    KERNEL_GAP_S,
    STEP_LIMIT_S,
    TENSOR_EFFICIENCY,
    bus_bytes_per_s,
    callers_in_real_time,
    mouth_to_ear_s,
    step_time,
)

CONTEXT_BYTES = GIB // 2  # that CUDA itself takes of a GPU
WARNING = "Nothing here was measured: these are datasheets, sizes counted from the model, and stated assumptions."


@dataclass(frozen=True, slots=True)
class Plan:
    """A model on a GPU, in numbers."""

    gpu: Gpu
    footprint: Footprint
    work: Work
    capacity: Capacity
    window: int  # frames that each caller has had
    callers: int  # for which mouth to ear is computed
    delay_frames: int


def make_plan(
    gpu: Gpu,
    config: DuplexConfig,
    quantization: str,
    kv_cache_dtype: str,
    window: int | None = None,
    callers: int | None = None,
) -> Plan:
    """Raises `UnfitDevice` if the model has no such window, or if the GPU can't hold it."""
    context = config.temporal.context
    if window is not None and window > context:
        raise UnfitDevice(f"--window {window} is longer than the model's context of {context} frames.")
    kv_dtype = DTYPES[kv_cache_dtype]
    duplex = meta_model(config, torch.bfloat16, DTYPES[quantization])
    held, done = footprint(duplex, kv_dtype), work(duplex, kv_dtype, window)
    free_bytes = gpu.memory_bytes - CONTEXT_BYTES
    capacity = Capacity(slots_in(free_bytes, held), callers_in_real_time(done, gpu))
    refuse_too_many(1, capacity.in_memory, free_bytes, held, f"The {gpu.name}", "plan with --quantization int8")
    return Plan(gpu, held, done, capacity, window or context, callers or max(1, capacity.callers), config.max_delay)


def as_json(plan: Plan) -> dict[str, Any]:
    """All figures of a plan, in seconds and bytes."""
    return {
        "measured": False,
        "gpu": asdict(plan.gpu),
        "assumed": {
            "copy_efficiency": COPY_EFFICIENCY,
            "kernel_efficiency": KERNEL_EFFICIENCY,
            "tensor_efficiency": TENSOR_EFFICIENCY,
            "codec_efficiency": CODEC_EFFICIENCY,
            "kernel_gap_s": KERNEL_GAP_S,
            "step_limit_s": STEP_LIMIT_S,
            "reserve_bytes": RESERVE_BYTES,
        },
        "window_frames": plan.window,
        "footprint": asdict(plan.footprint),
        "work": asdict(plan.work),
        "steps": [
            {"callers": callers, **asdict(time), "total_s": time.total_s}
            for callers in _columns(plan)
            for time in [step_time(plan.work, plan.gpu, callers)]
        ],
        "capacity": {**asdict(plan.capacity), "callers": plan.capacity.callers, "limit": plan.capacity.limit},
        "mouth_to_ear": {"callers": plan.callers, "terms_s": _mouth_to_ear(plan)},
    }


def as_table(plan: Plan) -> str:
    """The same as a table."""
    gpu, done, held = plan.gpu, plan.work, plan.footprint
    lines = [
        WARNING,
        "",
        f"GPU      {gpu.name}: {gpu.memory_bytes / GIB:.1f} GiB; {gpu.bandwidth_bytes_per_s / 1e9:,.0f} GB/s by its "
        f"datasheet, {bus_bytes_per_s(gpu) / 1e9:,.0f} assumed ({COPY_EFFICIENCY:.0%} by copy, of which our kernels "
        f"reach {KERNEL_EFFICIENCY:.0%})",
        f"held     weights {held.weight_bytes / GIB:.1f} GiB, each slot {held.slot_bytes / GIB:.2f} GiB, "
        f"{RESERVE_BYTES / GIB:.1f} GiB for graphs and room",
        f"read     {done.weight_bytes / 1e9:.1f} GB of weights a step; of each caller {done.key_bytes / 1e9:.2f} GB of "
        f"keys and values, {plan.window:,} frames ({plan.window * FRAME_S:.0f} s)",
        f"computed {done.codec_flops / 1e9:.1f} GFLOP a caller in float32 by the codec, at {CODEC_EFFICIENCY:.0%} of "
        f"{gpu.f32_flop_per_s / 1e12:.0f} TFLOP/s; {done.kernels:,} kernels a step, {KERNEL_GAP_S * 1e6:g} µs each",
        "",
        "callers  step ms = weights + keys + codec + launches",
    ]
    for callers in _columns(plan):
        time = step_time(done, gpu, callers)
        terms = (time.total_s, time.weights_s, time.keys_s, time.codec_s, time.launches_s)
        total, weights, keys, codec, launches = (f"{term * 1e3:.1f}" for term in terms)
        row = f"{callers:7}  {total:>7}   {weights:>7} {keys:>6} {codec:>7} {launches:>10}"
        lines.append(f"{row}   {_remark(plan, callers, time.total_s)}".rstrip())
    return "\n".join([*lines, "", *_verdict(plan)])


def _columns(plan: Plan) -> list[int]:
    """The numbers of callers to print: powers of two up to the limits, and the limits themselves."""
    limits = {plan.capacity.in_memory, plan.capacity.in_real_time or 1, plan.callers}
    return sorted(limits | {1 << power for power in range(max(limits).bit_length())})


def _remark(plan: Plan, callers: int, step_s: float) -> str:
    remarks = []
    if step_s > STEP_LIMIT_S:
        remarks.append("too slow")
    if callers > plan.capacity.in_memory:
        remarks.append("out of memory")
    return ", ".join(remarks)


def _verdict(plan: Plan) -> list[str]:
    most, limit_ms = plan.capacity, STEP_LIMIT_S * 1e3
    terms = _mouth_to_ear(plan)
    spelled = " + ".join(f"{name} {seconds * 1e3:.0f}" for name, seconds in terms.items())
    return [
        f"{plan.gpu.name}: {most.in_real_time} in real time (a step within {limit_ms:.0f} of {FRAME_S * 1e3:.0f} ms), "
        f"{most.in_memory} in memory: {most}.",
        f"Mouth to ear with {plan.callers}: {sum(terms.values()) * 1e3:.0f} ms = {spelled} (wait: half a step on "
        "average; network: assumed).",
    ]


def _mouth_to_ear(plan: Plan) -> dict[str, float]:
    return mouth_to_ear_s(step_time(plan.work, plan.gpu, plan.callers).total_s, plan.delay_frames)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu", choices=sorted(GPUS), required=True, help="the GPU to plan for")
    parser.add_argument(
        "--model", type=Path, metavar="PATH", help="checkpoint directory or config.json (default: Moshi 7B)"
    )
    add_precision_flags(parser)
    group = parser.add_argument_group("load")
    group.add_argument("--window", type=positive_int, metavar="N", help="frames that each call has had (default: full)")
    group.add_argument(
        "--callers", type=positive_int, metavar="N", help="callers for mouth to ear (default: as many as fit)"
    )
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON, in seconds and bytes")


def run(args: argparse.Namespace) -> int:
    """Print the plan; the exit status."""
    try:
        config = config_at(args.model) if args.model else duplex_config(None, None)
        plan = make_plan(GPUS[args.gpu], config, args.quantization, args.kv_cache_dtype, args.window, args.callers)
    except ModelError as error:
        print(f"parley plan: {error}", file=sys.stderr)
        return 1
    print(json.dumps(as_json(plan), indent=1) if args.json else as_table(plan))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m model.plan`."""
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.plan", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
