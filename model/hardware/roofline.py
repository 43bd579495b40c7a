"""How long a step takes on a GPU, from the bytes and arithmetic that it needs: an estimate, not a measurement.

Arithmetic on plain numbers, without torch. Every assumption is a constant here, and `model/plan.py` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.hardware.footprint import Work
from model.hardware.gpus import Gpu

FRAME_S = 0.080
STEP_LIMIT_S = 0.070  # of a frame; the rest is for the host, and for steps that take longer than others
COPY_EFFICIENCY = 0.90  # share of a datasheet's bandwidth that a copy reaches: 4.3 of 4.8 TB/s were measured on an H200
KERNEL_EFFICIENCY = 0.85  # share of a copy's bandwidth that a step's kernels reach
TENSOR_EFFICIENCY = 0.5  # share of a datasheet's bfloat16 arithmetic, for products of some dozen rows
CODEC_EFFICIENCY = 0.25  # share of its float32 arithmetic, for the codec's many small products
KERNEL_GAP_S = 1.5e-6  # between two kernels of a captured graph, the short ones' own time included


@dataclass(frozen=True, slots=True)
class StepTime:
    """The terms of one step, one after another."""

    weights_s: float
    keys_s: float
    codec_s: float
    launches_s: float

    @property
    def total_s(self) -> float:
        return self.weights_s + self.keys_s + self.codec_s + self.launches_s


def bus_bytes_per_s(gpu: Gpu) -> float:
    """The bandwidth that a step is assumed to reach."""
    return gpu.bandwidth_bytes_per_s * COPY_EFFICIENCY * KERNEL_EFFICIENCY


def step_time(work: Work, gpu: Gpu, callers: int) -> StepTime:
    """One step for `callers` callers. Each part takes as long as the slower of reading and computing."""
    bus, scalar, tensor = bus_bytes_per_s(gpu), gpu.f32_flop_per_s, gpu.bf16_flop_per_s
    products_s = callers * work.weight_flops / (tensor * TENSOR_EFFICIENCY)
    codec_flops_s = callers * work.codec_flops / (scalar * CODEC_EFFICIENCY)
    codec_keys_s = callers * work.codec_key_bytes / bus
    return StepTime(
        weights_s=max(work.weight_bytes / bus, products_s),
        keys_s=callers * work.key_bytes / bus,
        codec_s=max(work.codec_bytes / bus, codec_flops_s) + codec_keys_s,
        launches_s=work.kernels * KERNEL_GAP_S,
    )


def callers_in_real_time(work: Work, gpu: Gpu) -> int:
    """The most callers whose step stays within the limit; 0 if one is too many."""
    callers = 0
    while step_time(work, gpu, callers + 1).total_s <= STEP_LIMIT_S:
        callers += 1
    return callers


# The other delays between a voice and the answer.
NETWORK_S = 0.030  # assumed, there and back
PLAYOUT_S = 0.040  # the page's jitter buffer


def mouth_to_ear_s(step_s: float, delay_frames: int) -> dict[str, float]:
    """From a sound to the model's first possible answer, term by term, with steps of `step_s`."""
    return {
        "frame": FRAME_S,  # a frame is complete only at its end
        "acoustic delay": delay_frames * FRAME_S,  # between the streams of one sound
        "wait": step_s / 2,  # for the current step: half of one, on average
        "step": step_s,
        "network": NETWORK_S,
        "playout": PLAYOUT_S,
    }
