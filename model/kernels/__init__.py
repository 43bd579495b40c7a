"""Triton kernels for what a step spends its time on: reading weights, and reading keys and values.

Optional: the torch path beside each is what CPUs run, and GPUs without Triton. Importing this package imports no
Triton; its modules do.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from torch import Tensor

_HAS_TRITON = find_spec("triton") is not None


def available(tensor: Tensor) -> bool:
    """Whether the kernels can work on this tensor's device: CUDA, or any under Triton's interpreter (in tests)."""
    return _HAS_TRITON and (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1")
