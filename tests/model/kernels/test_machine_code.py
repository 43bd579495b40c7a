"""The kernels compile for the supported chips, without a GPU, and fit their shared memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from model.kernels.skinny_linear import tiles_for

# A100, L4 and L40S, H100 and H200: each with one dtype only, because compiling takes seconds.
CHIPS = {80: ("*i8", 163), 89: ("*fp8e4nv", 99), 90: ("*bf16", 227)}

# Compiled in another process, because in this one the kernels may run under the interpreter.
COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from model.kernels import ring_attention, ring_write, skinny_linear

chip, cases = json.loads(sys.argv[1])
for module, name, types, constants, warps in cases:
    kernel = getattr(globals()[module], name)
    names = kernel.arg_names
    types = {n: "constexpr" if n in constants else types.get(n, "i32") for n in names}
    whole = [i for i, n in enumerate(names) if types[n] not in ("constexpr", "fp32")]
    aligned = {(i,): [["tt.divisibility", 16]] for i in whole}
    source = ASTSource(kernel, types, {(names.index(n),): value for n, value in constants.items()}, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", chip, 32), options={"num_warps": warps})
    print(json.dumps([name, made.metadata.shared, made.asm["ptx"].count("cp.async.cg"), len(made.asm["cubin"])]))
"""


@pytest.mark.parametrize("chip", CHIPS)
def test_every_kernel_compiles_and_fits_shared_memory(chip: int):
    held, shared_kb = CHIPS[chip]
    number_bytes = 2 if held == "*bf16" else 1
    share = dict.fromkeys(("peaks", "sums", "outputs"), "*fp32")
    ring = {
        "query": "*bf16",
        "keys": held,
        "values": held,
        "attended": "*bf16",
        "length": "*i64",
        "active": "*i1",
        **share,
    }
    scales = dict.fromkeys(("key_scales", "value_scales"), None if number_bytes == 2 else "*fp32")
    read = {"HEADS": 32, "FRAMES": 1, "DIM": 128, "BLOCK": 32, "TILES": 8, "SPLITS": 12, "STAGES": 3}
    join = {"HEADS": 32, "FRAMES": 1, "DIM": 128, "SPLIT": 256, "SPLITS": 12, "JOINED": 16}
    absent = {name: None for name, kind in scales.items() if kind is None}
    cases = [
        ("ring_attention", "_read", {**ring, **scales, "scale": "fp32"}, {**read, **absent}, 4),
        ("ring_attention", "_join", ring, join, 4),
    ]
    vectors = {"qkv": "*bf16", "rotation": "*fp32", "columns": "*i64", "query": "*bf16", "keys": held, "values": held}
    cases.append(
        ("ring_write", "_rotate_and_write", {**vectors, **scales}, {"HEADS": 32, "FRAMES": 1, "HALF": 64, **absent}, 1)
    )
    for outputs, gated in ((12_288, False), (22_528, True)):
        tiles = tiles_for(16, outputs, 4096, number_bytes, 2, gated, gated)
        types = {"x": "*bf16", "weight": held, "scale": "*fp32", "alpha": "*bf16", "parts": "*bf16", "eps": "fp32"}
        cut = {"ROWS": tiles.rows, "OUTPUTS": tiles.outputs, "DEPTH": tiles.depth, "STAGES": tiles.stages}
        missing = {} if gated else {"alpha": None}
        missing |= {"scale": None} if number_bytes == 2 else {}
        cases.append(("skinny_linear", "_multiply", types, {"GATED": gated, **cut, **missing}, tiles.warps))
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, json.dumps([chip, cases])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        name, shared_bytes, copies, code_bytes = json.loads(line)
        assert code_bytes > 0
        assert shared_bytes <= shared_kb * 1024, name
        assert copies > 0 or name not in ("_read", "_multiply"), f"{name} would wait for each of its loads"
