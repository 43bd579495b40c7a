"""Loading a Moshi runner: its default parameters, its model card, and what is a clear error at start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from server.hub.resolve import ModelUnavailable
from server.sessions.params import SessionParams

pytest.importorskip("torch")

from server.engine.model_runner import load_runner


def with_lm_gen_config(source: str, target: Path, lm_gen_config: object) -> str:
    """A copy of the checkpoint `source` with an lm_gen_config."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"lm_gen_config": lm_gen_config}))
    return str(target)


def test_lm_gen_config_sets_the_default_parameters(random_checkpoint: str, tmp_path: Path):
    recommended = {"temp": 0.3, "temp_text": 0.2, "top_k": 40, "top_k_text": 5, "cfg_coef": 1.0}
    card = load_runner(with_lm_gen_config(random_checkpoint, tmp_path / "some", recommended), 1, "cpu", "auto").card
    params = SessionParams.from_query({**card.params, "audio_topk": "60"})
    assert (params.audio_temperature, params.text_temperature, params.text_topk) == (0.3, 0.2, 5)
    assert params.audio_topk == 60, "a parameter of the client takes precedence"
    greedy = with_lm_gen_config(random_checkpoint, tmp_path / "greedy", {"use_sampling": False})
    params = SessionParams.from_query(load_runner(greedy, 1, "cpu", "auto").card.params)
    assert params.audio_temperature == params.text_temperature == 0


@pytest.mark.parametrize("recommended", [{"temp": 7}, {"top_k": "many"}, {"top_k_text": None}, ["temp"]])
def test_invalid_lm_gen_config_is_an_error_at_start(random_checkpoint: str, tmp_path: Path, recommended: object):
    with pytest.raises(ModelUnavailable, match=r"in the checkpoint: \w+ should|not an object"):
        load_runner(with_lm_gen_config(random_checkpoint, tmp_path / "wrong", recommended), 1, "cpu", "auto")


def test_demo_card_has_a_notice(random_checkpoint: str):
    demo, other = load_runner("demo", 1, "cpu", "auto"), load_runner(random_checkpoint, 1, "cpu", "auto")
    assert demo.card.demo and not other.card.demo
    assert "knows a few dozen phrases; it is not Moshi" in demo.card.notice
    assert "parley serve --model" in demo.card.advice
    assert "parley" not in demo.card.notice, "visitors read the notice"
    assert "What is your name?" in demo.card.examples
    assert demo.card.delay_frames == 1
    assert other.card.notice == other.card.advice == ""


@pytest.mark.parametrize(
    ("model", "device", "message"),
    [
        ("./no/such/place", "cpu", "no checkpoint directory"),
        ("demo", "mps", "no Apple GPU"),
        ("demo", "cuda", "no NVIDIA GPU"),
    ],
)
def test_missing_model_or_device_is_an_error(model: str, device: str, message: str):
    import torch

    if device != "cpu" and getattr(torch, device).is_available():
        pytest.skip(f"there is a {device} device here")
    with pytest.raises(ModelUnavailable, match=message):
        load_runner(model, 1, device, "auto")


def test_more_slots_than_fit_into_memory_are_an_error_at_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("model.hardware.device.os.sysconf", {"SC_PHYS_PAGES": 25_000, "SC_PAGE_SIZE": 4096}.__getitem__)
    with pytest.raises(
        ModelUnavailable, match=r"lower --slots to \d, or add --quantization int8 --kv-cache-dtype int8\.$"
    ):
        load_runner("demo", 1000, "cpu", "auto")


@pytest.mark.parametrize(
    ("problem", "is_memory"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 22.03 GiB", True),
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_only_out_of_memory_errors_suggest_fewer_slots(
    random_checkpoint: str, monkeypatch: pytest.MonkeyPatch, problem: str, is_memory: bool
):
    def build(*_: object) -> None:
        raise RuntimeError(problem)

    monkeypatch.setattr("server.engine.model_runner.build", build)
    expected, message = (ModelUnavailable, "lower --slots") if is_memory else (RuntimeError, "illegal memory access")
    with pytest.raises(expected, match=message):
        load_runner(random_checkpoint, 2, "cpu", "auto")


def test_empty_directory_is_an_error(tmp_path: Path):
    with pytest.raises(ModelUnavailable, match="has no file"):
        load_runner(str(tmp_path), 1, "cpu", "auto")
