"""Run the kernels on the GPU if there is one, and otherwise under Triton's interpreter."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

HAS_TRITON = find_spec("triton") is not None
INTERPRETED = HAS_TRITON and not torch.cuda.is_available()

collect_ignore_glob = [] if HAS_TRITON else ["test_*.py"]  # Triton has wheels for Linux only

if INTERPRETED:
    # Triton reads this variable when its own modules and a kernel's module are imported. It is set for these imports
    # only, because other tests run in the same process.
    os.environ["TRITON_INTERPRET"] = "1"
    import triton.runtime.interpreter as interpreter

    import model.kernels.ring_attention
    import model.kernels.ring_write
    import model.kernels.skinny_linear  # noqa: F401

    del os.environ["TRITON_INTERPRET"]

    # The interpreter stores bfloat16 as 16-bit integers. It multiplies these integers, converts integers to bfloat16 by
    # copying their bits, and loses a carry when it rounds. These functions compute what the hardware does.
    multiply, cast = interpreter.InterpreterBuilder.create_dot, interpreter.InterpreterBuilder.cast_impl
    convert = interpreter._convert_float
    bfloat16, float32, float8 = interpreter.tl.bfloat16, interpreter.tl.float32, interpreter.tl.float8e4nv

    def wide(operand: Any) -> Any:
        if operand.dtype.scalar != bfloat16:
            return operand
        bits = operand.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), float32)

    def multiply_numbers(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return multiply(self, wide(a), wide(b), *rest)

    def cast_numbers(self: Any, source: Any, target: Any) -> Any:
        if target.scalar == bfloat16 and source.dtype.scalar.is_int():
            source = cast(self, source, float32)
        return cast(self, source, target)

    def round_numbers(numbers: Any, source: Any, target: Any, mode: Any) -> Any:
        if source != float32 or target not in (bfloat16, float8):
            return convert(numbers, source, target, mode)
        wide = torch.from_numpy(np.array(numbers, dtype=np.float32))
        if target == bfloat16:
            return wide.bfloat16().view(torch.int16).numpy().view(np.uint16)
        return wide.to(torch.float8_e4m3fn).view(torch.uint8).numpy()

    for place, name, function in (
        (interpreter, "_convert_float", round_numbers),
        (interpreter.InterpreterBuilder, "create_dot", multiply_numbers),
        (interpreter.InterpreterBuilder, "cast_impl", cast_numbers),
    ):
        setattr(place, name, function)


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def device() -> torch.device:
    """The device on which the kernels run. Also seeds the random numbers."""
    torch.manual_seed(0)
    return torch.device("cpu" if INTERPRETED else "cuda")
