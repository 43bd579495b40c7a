"""Triton kernels for what a step spends its time on, reading weights and reading keys and values; and which way of
computing suits a tensor's device.

Kernels are optional: CPUs, and GPUs without Triton, run the torch path beside each. Importing this package imports no
Triton; its modules do.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from model.errors import UnfitDevice

_HAS_TRITON = find_spec("triton") is not None


def available(tensor: Tensor) -> bool:
    """Whether the kernels can work on this tensor's device: CUDA, or any under Triton's interpreter (in tests)."""
    return _HAS_TRITON and (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1")


def host_can_read(tensor: Tensor) -> bool:
    """Whether a step may ask what a tensor holds: free on a CPU, a stall on a GPU, and wrong while it is traced."""
    return not tensor.is_cuda and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def runs_eagerly_on_cpu(tensor: Tensor) -> bool:
    """Whether this very call is made on a CPU, with these sizes: not so in a trace, which is for any number of rows."""
    return tensor.is_cpu and host_can_read(tensor)


def has_fused_norm(tensor: Tensor) -> bool:
    """Whether torch's own RMS norm is one kernel here; on a CPU it is more calls than it needs."""
    return not tensor.is_cpu


def refuse_no_compiler() -> None:
    """Raise `UnfitDevice` where Triton is, and can't build the module through which it talks to the driver.

    It would try when the first kernel runs: asked to now, it fails before anything is downloaded.
    """
    if not _HAS_TRITON:
        return
    from triton.runtime import driver

    try:
        driver.active.get_current_target()
    except Exception as error:  # of Triton's, a compiler's or a file system's
        raise UnfitDevice(
            "Triton, which compiles the kernels, can't build its own launcher here: it needs a C compiler and "
            f"Python's headers (on Debian and Ubuntu: apt install gcc libc6-dev python3-dev): {error}"
        ) from error
