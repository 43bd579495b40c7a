"""The roofline against published figures: equal to their lower bounds, below their measurements."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from model.checkpoints.build import meta_model
from model.checkpoints.moshi_config import duplex_config
from model.command_line import DTYPES
from model.hardware.capacity import slots_in
from model.hardware.footprint import Work, footprint, work
from model.hardware.gpus import GPUS, Gpu
from model.hardware.roofline import FRAME_S, STEP_LIMIT_S, callers_in_real_time, mouth_to_ear_s, step_time

H100, H200, L4, L40S = (GPUS[name] for name in ("h100", "h200", "l4", "l40s"))
# NVIDIA DGX Spark datasheet (2025): 128 GB at 273 GB/s; arithmetic is no limit at one caller.
GB10 = Gpu("GB10", "NVIDIA GB10", 128 * 10**9, 273e9, 31e12, 125e12)


@cache
def moshi(quantization: str = "none", kv_cache_dtype: str = "auto", depth_steps: int = 8) -> Work:
    """The work of a 7B step."""
    config = duplex_config({"dep_q": depth_steps}, None)
    return work(meta_model(config, torch.bfloat16, DTYPES[quantization]), DTYPES[kv_cache_dtype])


@pytest.mark.parametrize(
    ("name", "bf16_ms", "int8_ms", "keys_ms"),
    [
        ("l4", 49, 25, 5.2),
        ("l40s", 17, 8.5, 1.8),
        ("a100-80", 7.2, 3.6, 0.8),
        ("h100", 4.4, 2.2, 0.5),
        ("h200", 3.1, 1.5, 0.33),
    ],
)
def test_the_times_to_read_weights_and_keys_equal_the_datasheets(
    name: str, bf16_ms: float, int8_ms: float, keys_ms: float
):
    """The bytes of the 7B's weights, and of one caller's keys, over the datasheet's bandwidth."""
    bus = GPUS[name].bandwidth_bytes_per_s
    read = [moshi().weight_bytes, moshi("int8").weight_bytes, moshi().key_bytes]
    for nbytes, published in zip(read, (bf16_ms, int8_ms, keys_ms), strict=True):
        decimals = len(str(published).partition(".")[2])
        assert round(nbytes / bus * 1e3, decimals) == published


@pytest.mark.parametrize(("callers", "measured_ms"), [(2, 28.0), (8, 32.6), (16, 45.0), (32, 70.2)])
def test_planned_steps_are_shorter_than_vllm_omnis_on_an_h200(callers: int, measured_ms: float):
    """vLLM-Omni, PersonaPlex in bfloat16."""
    assert step_time(moshi(), H200, callers).total_s * 1e3 < measured_ms


def test_a_planned_step_is_shorter_than_personaplex_on_an_h100():
    assert step_time(moshi(), H100, 1).total_s * 1e3 < 30.2  # with CUDA graphs


@pytest.mark.parametrize(
    ("measured_ms", "plan"),
    [
        (101.7, {"depth_steps": 16}),
        (91.4, {}),
        (53.8, {"quantization": "int8"}),
        (46.5, {"quantization": "int8", "kv_cache_dtype": "int8"}),
    ],
)
def test_planned_steps_are_within_25_percent_of_personaplex_on_a_gb10(measured_ms: float, plan: dict[str, Any]):
    """Four measurements of one caller that differ only in bytes agree with the assumed efficiency."""
    planned_ms = step_time(moshi(**plan), GB10, 1).total_s * 1e3
    assert planned_ms < measured_ms < 1.25 * planned_ms


def test_the_papers_200_ms_on_an_l4_are_possible_in_8_bits():
    """160 ms in theory. In bfloat16 reading the weights alone adds 49 ms, so the paper's 200 ms need 8-bit weights."""
    step_s = step_time(moshi("int8", "int8"), L4, 1).total_s
    terms = mouth_to_ear_s(step_s, delay_frames=1)
    assert terms["frame"] + terms["acoustic delay"] == pytest.approx(0.160)
    assert terms["frame"] + terms["acoustic delay"] + terms["step"] <= 0.200


def test_an_h200_holds_more_windows_than_the_best_that_was_published():
    held = slots_in(H200.memory_bytes, footprint(meta_model(duplex_config(None, None), torch.bfloat16)))
    assert held > 60
    assert callers_in_real_time(moshi(), H200) > 64


@pytest.mark.parametrize(("gpu", "streams", "faster"), [(H100, 400, 1), (L40S, 64, 3)])
def test_kyutais_recogniser_is_possible(gpu: Gpu, streams: int, faster: float):
    """kyutai/stt-1b-en_fr, which has no audio output: 16 layers of 2,048, a window of 750 frames, half of the codec."""
    products = 16 * (4 * 2048**2 + 3 * 2048 * 5632) + 2048 * 8000
    keys = 16 * 2 * 2048 * 750
    full = moshi()
    stt = Work(
        2 * products, 2 * products, 2 * keys, full.codec_bytes, full.codec_flops // 2, full.codec_key_bytes // 2, 700
    )
    assert step_time(stt, gpu, streams).total_s < FRAME_S / faster


@pytest.mark.parametrize("gpu", GPUS.values(), ids=list(GPUS))
def test_callers_in_real_time_is_the_last_step_within_the_limit(gpu: Gpu):
    most = callers_in_real_time(moshi("int8", "int8"), gpu)
    assert most > 0
    assert step_time(moshi("int8", "int8"), gpu, most).total_s <= STEP_LIMIT_S
    assert step_time(moshi("int8", "int8"), gpu, most + 1).total_s > STEP_LIMIT_S


def test_many_callers_are_bound_by_arithmetic():
    """With 1,000 callers, multiplying by the weights takes longer than reading them."""
    few, many = step_time(moshi(), H200, 1), step_time(moshi(), H200, 1000)
    assert few.weights_s == pytest.approx(step_time(moshi(), H200, 2).weights_s)
    assert many.weights_s > few.weights_s
