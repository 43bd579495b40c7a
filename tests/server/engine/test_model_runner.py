"""The Moshi runner: parameters reach the model, and slots are isolated from each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch
from server.sessions.params import SessionParams

pytest.importorskip("torch")

from server.engine.model_runner import ModelRunner, load_runner

GREEDY = {"text_temperature": 0.0, "audio_temperature": 0.0}


@pytest.fixture(scope="module")
def runner(random_checkpoint: str) -> ModelRunner:
    runner = load_runner(random_checkpoint, 4, "cpu", "auto")
    runner.warm_up()
    return runner


def sound(frames: int) -> NDArray[np.float32]:
    time = np.arange(frames * FRAME_SAMPLES) / 24_000
    return (0.3 * np.sin(1500 * time + 3 * np.sin(9 * time))).astype(np.float32).reshape(frames, FRAME_SAMPLES)


def talk(runner: ModelRunner, slot: int, rows: int, **choices: float) -> tuple[str, NDArray[np.float32]]:
    """Text and PCM of a call of 18 frames in `slot` of a batch of `rows`."""
    runner.start(slot, SessionParams.model_validate({"text_seed": 1, "audio_seed": 2} | choices))
    text, pcm = "", []
    active = np.arange(rows) == slot
    for frame in sound(18):
        result = runner.submit(Batch(np.tile(frame, (rows, 1)), active))()
        text += result.pieces[slot]
        if result.spoken[slot]:
            pcm.append(result.pcm[slot].copy())
    return text, np.concatenate(pcm)


def test_device_memory_on_a_cpu_is_none(runner: ModelRunner):
    assert runner.device_memory() is None


def test_greedy_call_produces_text_and_audio(runner: ModelRunner):
    text, pcm = talk(runner, 0, 1, **GREEDY)
    assert len(pcm) == 17 * FRAME_SAMPLES  # one frame less, by the delay of the acoustic codes
    assert np.isfinite(pcm).all()
    assert pcm.std() > 0.001
    assert text.strip()


def test_slot_has_no_state_of_the_warm_up_or_an_earlier_call(runner: ModelRunner):
    first, again = talk(runner, 1, 2), talk(runner, 1, 2)
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])


def test_warm_up_covers_the_sampling_plan_of_the_defaults(random_checkpoint: str, monkeypatch: pytest.MonkeyPatch):
    runner = load_runner(random_checkpoint, 2, "cpu", "auto")
    begin, plans = runner._stepper.begin, []

    def note_plan(pcm: Any, active: Any, plan: Any, longest: int) -> Any:
        plans.append(plan)
        return begin(pcm, active, plan, longest)

    monkeypatch.setattr(runner._stepper, "begin", note_plan)
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
def test_each_sampling_parameter_changes_the_output(runner: ModelRunner, choice: dict[str, float]):
    default, chosen = talk(runner, 0, 1), talk(runner, 0, 1, **choice)
    assert not np.array_equal(default[1], chosen[1])


def test_parameters_of_another_slot_do_not_change_the_output(runner: ModelRunner):
    runner.start(1, SessionParams.model_validate(GREEDY))
    default = talk(runner, 0, 2, text_topk=5)
    runner.start(1, SessionParams.model_validate({"text_topk": 0, "pad_mult": -2.0, "repetition_penalty": 1.5}))
    again = talk(runner, 0, 2, text_topk=5)
    np.testing.assert_array_equal(default[1], again[1])


@pytest.mark.parametrize("choices", [{}, {"repetition_penalty": 1.5, "text_topk": 0}])
def test_moved_call_continues_bit_for_bit(runner: ModelRunner, choices: dict[str, float]):
    """Traced and eager: audio, text and token history move along, and the other call is unaffected."""

    def call(moves_at: int) -> list[tuple[str, bytes]]:
        params = SessionParams.model_validate({"text_seed": 1, "audio_seed": 2} | choices)
        runner.start(3, params)
        runner.start(0, SessionParams.model_validate({"text_seed": 5}))
        slot, received = 3, []
        for tick, frame in enumerate(sound(18)):
            if tick == moves_at:
                runner.move(3, 1)
                slot = 1
            active = np.isin(np.arange(4), [0, slot])
            result = runner.submit(Batch(np.tile(frame, (4, 1)), active))()
            assert result.finite[active].all()
            received += [(result.pieces[row], result.pcm[row].tobytes()) for row in (0, slot) if result.spoken[row]]
        for row in (0, slot):
            runner.stop(row)
        return received

    stays = call(moves_at=99)
    assert call(moves_at=7) == stays
    assert "".join(piece for piece, _ in stays).strip()


def test_slot_is_cleared_after_its_call_moved(runner: ModelRunner):
    from model.state import tensors

    talk(runner, 2, 4, repetition_penalty=1.5)
    runner.move(2, 0)
    assert not any(tensor[2].any() for tensor in tensors(runner._state))
    assert runner._plan.penalised, "the moved call keeps its parameters"
    runner.stop(0)
    assert not runner._plan.penalised


def test_stop_clears_the_slot_and_its_parameters(runner: ModelRunner):
    """Its sampling plan no longer applies, and none of its state stays in memory."""
    from model.state import tensors

    for slot in range(4):
        runner.stop(slot)
    talk(runner, 3, 4, repetition_penalty=1.5, text_topk=0)
    assert runner._plan.penalised
    runner.stop(3)
    assert not runner._plan.penalised
    assert not any(tensor[3].any() for tensor in tensors(runner._state))


def test_inactive_rows_produce_nothing(runner: ModelRunner):
    for slot in range(2):
        runner.start(slot, SessionParams.model_validate({}))
    batches = [Batch(np.stack([frame, frame]), np.array([True, False])) for frame in sound(3)]
    results = [runner.submit(batch)() for batch in batches]
    assert [result.spoken.tolist() for result in results] == [[False, False], [True, False], [True, False]]
    assert all(result.pieces[1] == "" for result in results)


def test_int8_weights_and_cache_produce_text_and_audio(random_checkpoint: str):
    runner = load_runner(random_checkpoint, "auto", "cpu", "auto", "int8", "int8")
    assert runner.slots == 8
    ring = runner._state.temporal.rings[0]
    assert (ring.keys.element_size(), ring.key_scales is not None) == (1, True)
    text, pcm = talk(runner, 0, 1, **GREEDY)
    assert text.strip() and np.isfinite(pcm).all() and pcm.std() > 0.001
