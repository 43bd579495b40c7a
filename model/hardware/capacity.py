"""How many callers a device takes, and which models it can't run at all: decided before anything is loaded.

Works on plain numbers, free bytes and compute capabilities, so that it is tested without a GPU. Each refusal is one
sentence that ends with what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from model.errors import UnfitDevice
from model.hardware.footprint import Footprint
from model.hardware.gpus import GIB

BFLOAT16_SINCE = (8, 0)  # compute capability: Ampere
# Beside weights and state: captured graphs and libraries' workspaces, and memory that the allocator can't use.
RESERVE_BYTES = 3 * GIB // 2
WORKING_BYTES = 16 << 20  # of a slot, within a step


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many callers a device takes."""

    in_memory: int
    in_real_time: int | None  # by the roofline; None: a chip whose bandwidth is not in our table

    @property
    def callers(self) -> int:
        return self.in_memory if self.in_real_time is None else min(self.in_memory, self.in_real_time)

    @property
    def limit(self) -> str:
        return "memory" if self.callers == self.in_memory else "memory bandwidth"

    def __str__(self) -> str:
        """Such as "12 callers; memory is the limit"."""
        return f"{self.callers} {'caller' if self.callers == 1 else 'callers'}; {self.limit} is the limit"


def slots_in(free_bytes: int, footprint: Footprint, reserve_bytes: int = RESERVE_BYTES) -> int:
    """How many slots `free_bytes` hold beside the weights of a model that is not loaded yet; 0 if not one."""
    room = free_bytes - reserve_bytes - footprint.weight_bytes
    return max(0, room // (footprint.slot_bytes + WORKING_BYTES))


def refuse_too_many(slots: int, held: int, free_bytes: int, footprint: Footprint, where: str, remedy: str) -> None:
    """Raise `UnfitDevice` if `where`, a device of which `free_bytes` are free, holds fewer slots than are asked for.

    `remedy` ends the message: what would need less memory.
    """
    free, weights, slot = (size / GIB for size in (free_bytes, footprint.weight_bytes, footprint.slot_bytes))
    if held < 1:
        raise UnfitDevice(
            f"{where} has {free:.1f} GiB free, too few for the weights ({weights:.1f} GiB), one slot ({slot:.2f} GiB) "
            f"and room to work in: free some of it, take a larger device, or {remedy}."
        )
    if slots > held:
        raise UnfitDevice(
            f"{where} has {free:.1f} GiB free, which hold the weights ({weights:.1f} GiB) and {held} slots of "
            f"{slot:.2f} GiB, not {slots}: lower --slots to {held}, or {remedy}."
        )


def refuse_old_chip(name: str, capability: tuple[int, int], built_for: Sequence[str], bfloat16: bool) -> None:
    """Raise `UnfitDevice` for a GPU that this PyTorch has no code for (`built_for`, as in sm_80), or no arithmetic."""
    major, minor = capability
    if not any(_runs_on(architecture, major, minor) for architecture in built_for):
        raise UnfitDevice(
            f"{name} has compute capability {major}.{minor}, and this PyTorch was built for {', '.join(built_for)}: "
            "install a PyTorch that was built for it, take another GPU, or add --device cpu."
        )
    if bfloat16 and capability < BFLOAT16_SINCE:
        raise UnfitDevice(
            f"{name} has compute capability {major}.{minor}, too old for bfloat16, which begins with 8.0: "
            "add --dtype float16, or take a GPU of the Ampere generation or newer."
        )


def _runs_on(architecture: str, major: int, minor: int) -> bool:
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", architecture)
    if match is None:
        return False
    built = int(match[2]), int(match[3])
    # Machine code runs within its generation; the portable form is compiled for whatever is newer.
    return built <= (major, minor) and (match[1] == "compute" or built[0] == major)


def why_no_cuda(built_for: str | None, problem: str) -> str:
    """Why PyTorch finds no GPU. `built_for` is its CUDA version (None: a CPU build), `problem` its own complaint."""
    if built_for is None:
        return (
            "--device cuda was asked for, but PyTorch sees no NVIDIA GPU here; its CPU build never does. "
            "Leave --device out, or install PyTorch's CUDA build and the driver."
        )
    if "too old" in problem:
        return (
            f"The NVIDIA driver of this machine is too old for this PyTorch, which was built for CUDA {built_for}: "
            "update the driver, or install a PyTorch that was built for an older CUDA."
        )
    return (
        f"PyTorch, built for CUDA {built_for}, finds no NVIDIA GPU here ({problem.split('. ')[0].rstrip('.')}): "
        "see what nvidia-smi says, give the container its GPU, or leave --device out."
    )
