"""Capacity and refusals, computed from numbers before a model is loaded."""

from __future__ import annotations

import re

import pytest

from model.errors import UnfitDevice
from model.hardware.capacity import Capacity, refuse_old_chip, refuse_too_many, slots_in, why_no_cuda
from model.hardware.footprint import Footprint
from model.hardware.gpus import GIB, GPUS, known

MOSHI = Footprint(weight_bytes=15_709_469_956, slot_bytes=1_589_346_905)
SMALLER = Footprint(weight_bytes=8_342_630_660, slot_bytes=827_490_905)
BUILT_FOR = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("free_gib", "footprint", "slots"),
    [(21.5, MOSHI, 3), (21.5, SMALLER, 15), (139.2, MOSHI, 82), (139.2, SMALLER, 165), (15, MOSHI, 0), (2, MOSHI, 0)],
)
def test_slots_in_counts_whole_slots(free_gib: float, footprint: Footprint, slots: int):
    assert slots_in(int(free_gib * GIB), footprint) == slots


@pytest.mark.parametrize(
    ("memory", "bus", "said"),
    [
        (12, 20, "12 callers; memory is the limit"),
        (12, 12, "12 callers; memory is the limit"),
        (12, None, "12 callers; memory is the limit"),
        (12, 9, "9 callers; memory bandwidth is the limit"),
        (12, 1, "1 caller; memory bandwidth is the limit"),
        (3, 0, "0 callers; memory bandwidth is the limit"),
    ],
)
def test_capacity_names_the_smaller_limit(memory: int, bus: int | None, said: str):
    assert str(Capacity(memory, bus)) == said


def test_too_many_slots_are_refused_with_the_remedy():
    refuse_too_many(3, 3, int(21.5 * GIB), MOSHI, "L4", "add --kv-cache-dtype int8")
    with pytest.raises(
        UnfitDevice, match=r"^L4 has 21\.5 GiB free.* 3 slots of 1\.48 GiB, not 8: lower --slots to 3, or add"
    ):
        refuse_too_many(8, 3, int(21.5 * GIB), MOSHI, "L4", "add --kv-cache-dtype int8")
    with pytest.raises(
        UnfitDevice, match=r"^L4 has 9\.0 GiB free, too few for the weights \(14\.6 GiB\).*add --kv-cache-dtype int8"
    ):
        refuse_too_many(1, 0, 9 * GIB, MOSHI, "L4", "add --kv-cache-dtype int8")


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0), (10, 3), (12, 1), (13, 0)])
def test_new_enough_chips_are_accepted(capability: tuple[int, int]):
    refuse_old_chip("a GPU", capability, BUILT_FOR, bfloat16=True)


def test_chips_without_support_are_refused():
    refuse_old_chip("Tesla T4", (7, 5), BUILT_FOR, bfloat16=False)
    with pytest.raises(UnfitDevice, match=r"^Tesla T4 has .* 7\.5, too old for bfloat16.*--dtype float16"):
        refuse_old_chip("Tesla T4", (7, 5), BUILT_FOR, bfloat16=True)
    with pytest.raises(UnfitDevice, match=r"^Tesla P100 has compute capability 6\.0.* sm_75, .*--device cpu"):
        refuse_old_chip("Tesla P100", (6, 0), BUILT_FOR, bfloat16=False)
    with pytest.raises(UnfitDevice, match=r"compute capability 11\.0"):  # machine code runs on one generation only
        refuse_old_chip("Thor", (11, 0), BUILT_FOR, bfloat16=False)


@pytest.mark.parametrize(
    ("built_for", "problem", "said"),
    [
        (None, "Torch not compiled with CUDA enabled", "its CPU build never does"),
        (
            "13.0",
            "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver.",
            "too old for this PyTorch, which was built for CUDA 13.0: update the driver",
        ),
        ("13.0", "Found no NVIDIA driver on your system. Please check.", r"\(Found no NVIDIA driver on your system\)"),
        ("13.0", "No CUDA GPUs are available", r"finds no NVIDIA GPU here \(No CUDA GPUs are available\)"),
    ],
)
def test_a_missing_gpu_is_explained(built_for: str | None, problem: str, said: str):
    assert re.search(said, why_no_cuda(built_for, problem))


def test_gpus_are_found_by_driver_name():
    assert known("NVIDIA L4") is GPUS["l4"]
    assert known("NVIDIA L40S") is GPUS["l40s"]
    assert known("NVIDIA H100 PCIe") is None  # its memory is slower than that of the H100 in the table
