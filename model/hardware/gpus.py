"""The GPUs to plan for: figures from their datasheets, and the memory that a program finds.

Figures only. The share of them that a step can use is assumed in `model/hardware/roofline.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One chip, with figures per second; matrix figures are dense, as datasheets often double them by sparsity."""

    name: str
    device_name: str  # as the driver gives it; the same chip on another board has another bandwidth
    memory_bytes: int  # as PyTorch reports it, without ECC and the driver's share
    bandwidth_bytes_per_s: float
    f32_flop_per_s: float  # without tensor cores
    bf16_flop_per_s: float  # with them


def _gpu(name: str, device_name: str, memory_gib: float, gb_per_s: float, f32_tflop: float, bf16_tflop: float) -> Gpu:
    return Gpu(name, device_name, int(memory_gib * GIB), gb_per_s * 1e9, f32_tflop * 1e12, bf16_tflop * 1e12)


# Memory: the "total capacity" in PyTorch's out-of-memory messages on these chips, the smallest commonly reported.
GPUS: dict[str, Gpu] = {
    # NVIDIA L4 Tensor Core GPU datasheet (2023): 300 GB/s; FP32 30.3; BFLOAT16 242 with sparsity.
    "l4": _gpu("L4", "NVIDIA L4", 22.03, 300, 30.3, 121),
    # NVIDIA A10 datasheet (2021): 600 GB/s, which the A10G of Amazon's G5 shares; A10G datasheet: FP32 35, BF16 70.
    "a10g": _gpu("A10G", "NVIDIA A10G", 22.06, 600, 35, 70),
    # NVIDIA L40S datasheet (2023): 864 GB/s; FP32 91.6; BFLOAT16 362.
    "l40s": _gpu("L40S", "NVIDIA L40S", 44.39, 864, 91.6, 362),
    # NVIDIA A100 datasheet (2021), 80 GB SXM: 2,039 GB/s; FP32 19.5; BFLOAT16 312.
    "a100-80": _gpu("A100 80 GB", "NVIDIA A100-SXM4-80GB", 79.14, 2039, 19.5, 312),
    # NVIDIA H100 datasheet (2023), SXM: 3.35 TB/s; FP32 67; BFLOAT16 1,979 with sparsity.
    "h100": _gpu("H100", "NVIDIA H100 80GB HBM3", 79.10, 3350, 67, 989),
    # NVIDIA H200 datasheet (2023), SXM: 4.8 TB/s; FP32 67; BFLOAT16 1,979 with sparsity.
    "h200": _gpu("H200", "NVIDIA H200", 139.72, 4800, 67, 989),
    # NVIDIA DGX B200 datasheet (2024), for eight: 64 TB/s; HGX B200: FP32 600; BFLOAT16 36,000 with sparsity.
    "b200": _gpu("B200", "NVIDIA B200", 178.35, 8000, 75, 2250),
}


def known(device_name: str) -> Gpu | None:
    """The chip with this driver name; None for one that is not in the table."""
    return next((gpu for gpu in GPUS.values() if gpu.device_name == device_name), None)
