"""The model runner: parameters reach the model, text comes out whole, and load errors say why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch
from server.hub.resolve import ModelUnavailable
from server.sessions.params import SessionParams

pytest.importorskip("torch")

from model.checkpoints.random import write_checkpoint
from server.engine.model_runner import ModelRunner, load_runner

GREEDY = {"text_temperature": 0.0, "audio_temperature": 0.0}


@pytest.fixture(scope="module")
def babble(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights, which have something to say to everything."""
    directory = tmp_path_factory.mktemp("babble")
    write_checkpoint(directory)
    return str(directory)


@pytest.fixture(scope="module")
def runner(babble: str) -> ModelRunner:
    runner = load_runner(babble, 4, "cpu", "auto")
    runner.warm_up()
    return runner


def sound(frames: int) -> NDArray[np.float32]:
    time = np.arange(frames * FRAME_SAMPLES) / 24_000
    return (0.3 * np.sin(1500 * time + 3 * np.sin(9 * time))).astype(np.float32).reshape(frames, FRAME_SAMPLES)


def talk(runner: ModelRunner, slot: int, rows: int, **choices: float) -> tuple[str, NDArray[np.float32]]:
    """What one caller hears and reads for a second and a half, seated in `slot` of a batch of `rows`."""
    runner.start(slot, SessionParams.model_validate({"text_seed": 1, "audio_seed": 2} | choices))
    text, pcm = "", []
    active = np.arange(rows) == slot
    for frame in sound(18):
        result = runner.submit(Batch(np.tile(frame, (rows, 1)), active))()
        text += result.pieces[slot]
        if result.spoken[slot]:
            pcm.append(result.pcm[slot].copy())
    return text, np.concatenate(pcm)


def test_device_memory_without_a_gpu_is_none(runner: ModelRunner):
    assert runner.device_memory() is None


def test_a_call_gets_sound_and_text(runner: ModelRunner):
    text, pcm = talk(runner, 0, 1, **GREEDY)
    assert len(pcm) == 17 * FRAME_SAMPLES  # one frame less: the acoustic codes' delay
    assert np.isfinite(pcm).all()
    assert pcm.std() > 0.001
    assert text.strip()


def test_a_slot_is_fresh_after_the_warm_up_and_after_a_call(runner: ModelRunner):
    first, again = talk(runner, 1, 2), talk(runner, 1, 2)
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])


def test_the_common_plan_is_warmed_up(babble: str, monkeypatch: pytest.MonkeyPatch):
    runner = load_runner(babble, 2, "cpu", "auto")
    begin, plans = runner._stepper.begin, []

    def noted(pcm: Any, active: Any, plan: Any, longest: int) -> Any:
        plans.append(plan)
        return begin(pcm, active, plan, longest)

    monkeypatch.setattr(runner._stepper, "begin", noted)
    runner.warm_up()
    runner.start(0, SessionParams())
    assert set(plans) == {runner._plan}


@pytest.mark.parametrize(
    "choice",
    [
        {"text_temperature": 0.2},
        {"text_topk": 1},
        {"text_seed": 9},
        {"repetition_penalty": 2.0},
        {"audio_temperature": 0.1},
        {"audio_topk": 2},
        {"audio_seed": 9},
    ],
)
def test_every_parameter_changes_the_call(runner: ModelRunner, choice: dict[str, float]):
    usual, chosen = talk(runner, 0, 1), talk(runner, 0, 1, **choice)
    assert not np.array_equal(usual[1], chosen[1])


def test_a_neighbours_parameters_change_nothing(runner: ModelRunner):
    runner.start(1, SessionParams.model_validate(GREEDY))
    usual = talk(runner, 0, 2, text_topk=5)
    runner.start(1, SessionParams.model_validate({"text_topk": 0, "pad_mult": -2.0, "repetition_penalty": 1.5}))
    again = talk(runner, 0, 2, text_topk=5)
    np.testing.assert_array_equal(usual[1], again[1])


@pytest.mark.parametrize("choices", [{}, {"repetition_penalty": 1.5, "text_topk": 0}])
def test_a_moved_call_goes_on_bit_for_bit(runner: ModelRunner, choices: dict[str, float]):
    """Played back and eager: sound, text, what was said lately, and the neighbour whom it moves over to."""

    def call(moves_at: int) -> list[tuple[str, bytes]]:
        params = SessionParams.model_validate({"text_seed": 1, "audio_seed": 2} | choices)
        runner.start(3, params)
        runner.start(0, SessionParams.model_validate({"text_seed": 5}))
        slot, heard = 3, []
        for tick, frame in enumerate(sound(18)):
            if tick == moves_at:
                runner.move(3, 1)
                slot = 1
            active = np.isin(np.arange(4), [0, slot])
            result = runner.submit(Batch(np.tile(frame, (4, 1)), active))()
            assert result.finite[active].all()
            heard += [(result.pieces[row], result.pcm[row].tobytes()) for row in (0, slot) if result.spoken[row]]
        for row in (0, slot):
            runner.stop(row)
        return heard

    stays = call(moves_at=99)
    assert call(moves_at=7) == stays
    assert "".join(piece for piece, _ in stays).strip()


def test_a_slot_is_fresh_after_its_caller_moved(runner: ModelRunner):
    from model.state import tensors

    talk(runner, 2, 4, repetition_penalty=1.5)
    runner.move(2, 0)
    assert not any(tensor[2].any() for tensor in tensors(runner._state))
    assert runner._plan.penalised, "the call goes on, and so does its choice"
    runner.stop(0)
    assert not runner._plan.penalised


def test_a_stopped_slot_keeps_nothing(runner: ModelRunner):
    """What a caller asked for ends with the call, and nothing of it stays in memory."""
    from model.state import tensors

    for slot in range(4):
        runner.stop(slot)
    talk(runner, 3, 4, repetition_penalty=1.5, text_topk=0)
    assert runner._plan.penalised
    runner.stop(3)
    assert not runner._plan.penalised
    assert not any(tensor[3].any() for tensor in tensors(runner._state))


def test_idle_rows_say_nothing(runner: ModelRunner):
    for slot in range(2):
        runner.start(slot, SessionParams.model_validate({}))
    batches = [Batch(np.stack([frame, frame]), np.array([True, False])) for frame in sound(3)]
    results = [runner.submit(batch)() for batch in batches]
    assert [result.spoken.tolist() for result in results] == [[False, False], [True, False], [True, False]]
    assert all(result.pieces[1] == "" for result in results)


def recommending(source: str, target: Path, lm_gen_config: object) -> str:
    """The same checkpoint, whose makers say how to draw from it."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"lm_gen_config": lm_gen_config}))
    return str(target)


def test_sampling_defaults_come_from_lm_gen_config(babble: str, tmp_path: Path):
    said = {"temp": 0.3, "temp_text": 0.2, "top_k": 40, "top_k_text": 5, "cfg_coef": 1.0}
    card = load_runner(recommending(babble, tmp_path / "some", said), 1, "cpu", "auto").card
    params = SessionParams.from_query({**card.params, "audio_topk": "60"})
    assert (params.audio_temperature, params.text_temperature, params.text_topk) == (0.3, 0.2, 5)
    assert params.audio_topk == 60, "a caller's own choice goes before"
    greedy = recommending(babble, tmp_path / "greedy", {"use_sampling": False})
    params = SessionParams.from_query(load_runner(greedy, 1, "cpu", "auto").card.params)
    assert params.audio_temperature == params.text_temperature == 0


@pytest.mark.parametrize("said", [{"temp": 7}, {"top_k": "many"}, {"top_k_text": None}, ["temp"]])
def test_invalid_lm_gen_config_is_refused_at_start(babble: str, tmp_path: Path, said: object):
    with pytest.raises(ModelUnavailable, match=r"Invalid lm_gen_config in the checkpoint.s config\.json: \w+ should"):
        load_runner(recommending(babble, tmp_path / "wrong", said), 1, "cpu", "auto")


def test_the_demo_shows_its_notice(runner: ModelRunner):
    demo = load_runner("demo", 1, "cpu", "auto")
    assert demo.card.demo and not runner.card.demo
    assert "knows a few dozen phrases; not Moshi" in demo.card.notice
    assert "parley serve --model" in demo.card.notice
    assert runner.card.notice == ""


@pytest.mark.parametrize(
    ("model", "device", "sentence"),
    [
        ("./no/such/place", "cpu", "no checkpoint directory"),
        ("demo", "mps", "no Apple GPU"),
        ("demo", "cuda", "no NVIDIA GPU"),
    ],
)
def test_a_missing_model_or_device_is_named(model: str, device: str, sentence: str):
    import torch

    if device != "cpu" and getattr(torch, device).is_available():
        pytest.skip(f"there is a {device} device here")
    with pytest.raises(ModelUnavailable, match=sentence):
        load_runner(model, 1, device, "auto")


def test_an_int8_model_speaks(babble: str):
    runner = load_runner(babble, "auto", "cpu", "auto", "int8", "int8")
    assert runner.slots == 8
    ring = runner._state.temporal.rings[0]
    assert (ring.keys.element_size(), ring.key_scales is not None) == (1, True)
    text, pcm = talk(runner, 0, 1, **GREEDY)
    assert text.strip() and np.isfinite(pcm).all() and pcm.std() > 0.001


def test_more_slots_than_memory_are_refused_at_start(monkeypatch: pytest.MonkeyPatch):
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
def test_only_out_of_memory_errors_are_translated(
    babble: str, monkeypatch: pytest.MonkeyPatch, problem: str, is_memory: bool
):
    def build(*_: object) -> None:
        raise RuntimeError(problem)

    monkeypatch.setattr("server.engine.model_runner.build", build)
    expected, sentence = (ModelUnavailable, "lower --slots") if is_memory else (RuntimeError, "illegal memory access")
    with pytest.raises(expected, match=sentence):
        load_runner(babble, 2, "cpu", "auto")


def test_an_empty_directory_is_refused(tmp_path: Path):
    with pytest.raises(ModelUnavailable, match="has no file"):
        load_runner(str(tmp_path), 1, "cpu", "auto")
