"""The device that a model runs on: which one, whether it can do what is asked, and how many slots it holds.

Asks PyTorch for the facts; `hardware/capacity.py` decides what follows from them. Everything is checked before a model
is loaded, so that a device that can't run it is refused at start and never during a call.
"""

from __future__ import annotations

import logging
import os
import warnings

import torch

from model import kernels
from model.errors import UnfitDevice
from model.hardware.capacity import Capacity, refuse_old_chip, refuse_too_many, slots_in, why_no_cuda
from model.hardware.footprint import footprint, work
from model.hardware.gpus import GIB, Gpu, known
from model.hardware.roofline import callers_in_real_time
from model.modes.duplex import Duplex

log = logging.getLogger(__name__)


def find_device(name: str) -> torch.device:
    """A device by its name; "auto" is a CUDA GPU if there is one, else the CPU. Raises `UnfitDevice`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a driver that is too old, which is reported below with what to do
        has_cuda = name in ("auto", "cuda") and torch.cuda.is_available()
    if name == "auto":
        if not has_cuda and "too old" in (problem := _cuda_problem()):
            log.warning("%s", why_no_cuda(torch.version.cuda, problem))
        name = "cuda" if has_cuda else "cpu"
    if name == "cuda" and not has_cuda:
        raise UnfitDevice(why_no_cuda(torch.version.cuda, _cuda_problem()))
    if name == "mps" and not torch.backends.mps.is_available():
        raise UnfitDevice("--device mps was asked for, but there is no Apple GPU here; leave --device out.")
    return torch.device(name)


def _cuda_problem() -> str:
    """PyTorch's own explanation of why it finds no GPU."""
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        return str(error)
    return "its driver answers, but has no device"


def default_dtype(device: torch.device) -> torch.dtype:
    """The dtype of a language model by default."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def name_of(device: torch.device) -> str:
    """A GPU's name as its driver gives it, or "CPU"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def gpu_of(device: torch.device) -> Gpu | None:
    """The datasheet of a device; None for one that is not in our table."""
    return known(name_of(device)) if device.type == "cuda" else None


def memory_in_use(device: torch.device) -> tuple[int, int] | None:
    """Bytes that torch holds of a GPU, by its own books, and bytes that the GPU has; None without one.

    The driver is not asked: it might wait for a step.
    """
    if device.type != "cuda":
        return None
    return torch.cuda.memory_reserved(device), torch.cuda.get_device_properties(device).total_memory


def refuse_unfit(device: torch.device, dtype: torch.dtype) -> None:
    """Raise `UnfitDevice` if the chip can't compute in `dtype`, or not with this PyTorch and this compiler."""
    if device.type == "cuda":
        name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        refuse_old_chip(name, capability, torch.cuda.get_arch_list(), bfloat16=dtype == torch.bfloat16)
        kernels.refuse_no_compiler()


def resolve_slots(
    device: torch.device, model: Duplex, kv_dtype: torch.dtype | None, asked: int | None, *, default: int, remedy: str
) -> int:
    """How many slots to make for `model`, which may still be on the meta device.

    `asked` is the operator's number; None means as many as a GPU holds and, by the roofline, serves in real time, and
    `default` on other devices. Raises `UnfitDevice` if they don't fit; the message ends with `remedy`: what to do.
    """
    needed = footprint(model, kv_dtype)
    if device.type == "cuda":
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        gpu = gpu_of(device)
        in_real_time = callers_in_real_time(work(model, kv_dtype), gpu) if gpu else None
        capacity = Capacity(slots_in(free_bytes, needed), in_real_time)
        where = f"{gpu.name if gpu else name_of(device)} {total_bytes / GIB:.1f} GiB"
        slots = asked or max(1, capacity.callers)  # the roofline is an estimate, no reason to refuse to start
    else:
        free_bytes, where = _memory_bytes(device), f"This machine ({device.type})"
        capacity = Capacity(slots_in(free_bytes, needed, reserve_bytes=0), None)
        slots = asked or max(1, min(default, capacity.callers))
    refuse_too_many(slots, capacity.in_memory, free_bytes, needed, where, remedy)
    if device.type == "cuda":
        _tell(where, capacity, slots, remedy)
    return slots


def _tell(where: str, capacity: Capacity, slots: int, remedy: str) -> None:
    if capacity.callers:
        log.info("%s: %s", where, capacity, extra={"slots": slots})
    else:
        limit = capacity.limit
        log.warning("%s: estimated too slow for one caller (limited by %s): %s", where, limit, remedy)


def _memory_bytes(device: torch.device) -> int:
    """All memory of a machine without CUDA: a CPU hands out more than is free, and may run out during a call."""
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
