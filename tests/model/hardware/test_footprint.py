"""Sizes and work counted on a meta model equal those of a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build, meta_model, meta_model_of
from model.checkpoints.families import config_at, find
from model.checkpoints.files import in_directory
from model.hardware.footprint import codec_flops, footprint, work
from model.modes.duplex import Duplex, DuplexInputs
from model.state import nbytes
from tests.golden.cases import CASES


def built(directory: Path, bits: torch.dtype | None = None) -> Duplex:
    return build(find(in_directory(directory)), torch.device("cpu"), torch.float32, weight_dtype=bits)[0]


@pytest.mark.parametrize("bits", [None, torch.int8])
def test_a_meta_model_has_the_size_of_the_built_one(babble_directory: Path, bits: torch.dtype | None):
    duplex = built(babble_directory, bits)
    light = meta_model_of(find(in_directory(babble_directory)), torch.float32, bits)
    assert all(parameter.is_meta for parameter in light.parameters())
    counted = footprint(light, bits)
    assert counted.weight_bytes == sum(parameter.nbytes for parameter in duplex.parameters())
    assert counted.slot_bytes == nbytes(duplex.make_state(1, bits))


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, int]]:
    """Every matrix product: its weight, and the number of rows multiplied by it."""
    made: list[tuple[torch.Tensor, int]] = []
    linear = functional.linear

    def spy(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        made.append((weight, x.numel() // x.shape[-1]))
        return linear(x, weight, bias)

    monkeypatch.setattr(functional, "linear", spy)
    return made


@pytest.mark.parametrize("case", ["babble", "long_delays", "personaplex"])
def test_the_bytes_read_equal_those_of_the_multiplied_weights(
    checkpoints: Callable[[str], Path], products: list[tuple[torch.Tensor, int]], case: str
):
    duplex = built(checkpoints(case))
    with torch.inference_mode():
        duplex.step(DuplexInputs(torch.zeros(1, FRAME_SAMPLES)), duplex.make_state(1))
    language = {parameter.data_ptr() for part in (duplex.temporal, duplex.depth) for parameter in part.parameters()}
    read = sum(weight.nbytes for weight, _ in products if weight.data_ptr() in language)
    assert read < work(duplex).weight_bytes < read * 1.05  # the rest are the norms


def test_the_codecs_flops_equal_those_of_its_products(babble: Duplex, products: list[tuple[torch.Tensor, int]]):
    mimi = babble.mimi
    with torch.inference_mode():
        codes = mimi.encode(torch.zeros(1, FRAME_SAMPLES), mimi.make_encoder_state(1), None)
        mimi.decode(codes, mimi.make_decoder_state(1), None)
    made = sum(weight.numel() * rows for weight, rows in products)
    assert codec_flops(mimi) == 2 * made


def test_a_short_call_reads_its_own_keys_only(babble: Duplex):
    whole, tenth = work(babble), work(babble, window=babble.config.temporal.context // 10)
    assert tenth.key_bytes * 10 == whole.key_bytes == nbytes(babble.make_state(1).temporal.rings)
    assert tenth.weight_bytes == whole.weight_bytes
    assert tenth.codec_key_bytes == whole.codec_key_bytes > 0  # its window is short


@pytest.mark.parametrize("case", CASES)
def test_every_shape_has_a_meta_model(checkpoints: Callable[[str], Path], case: str):
    directory = checkpoints(case)
    config = config_at(directory)
    assert config == config_at(directory / "config.json")
    assert work(meta_model(config, torch.bfloat16)).weight_bytes > 0
