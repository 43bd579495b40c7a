"""The committed demo model: its size, its answers, and its output for other sounds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

import model.demo
from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.demo import conversation, trials
from model.demo.evaluate import Outcome, converse
from model.demo.trials import Trial
from model.modes.duplex import Duplex
from model.tokenizer import Tokenizer

CHECKPOINT = Path(model.demo.__file__).parent / "checkpoint"
QUESTION = Path(__file__).parents[2] / "e2e/questions/what_is_your_name.wav"
ANSWER = "My name is Parley."

Demo = tuple[Duplex, Tokenizer]


@pytest.fixture(scope="module")
def demo() -> Demo:
    return build(find(in_directory(CHECKPOINT)), torch.device("cpu"), torch.float32)


def question(gain: float = 1.0, before_s: float = 1.0) -> NDArray[np.float32]:
    """The question after `before_s` of silence, and five seconds of silence after it."""
    asked, rate_hz = soundfile.read(QUESTION, dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    before, after = (np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32) for seconds in (before_s, 5))
    return np.concatenate([before, gain * asked, after])


def outcomes_for(demo: Demo, sounds: Iterable[NDArray[np.float32]]) -> list[Outcome]:
    return converse(*demo, [Trial(pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES], "", 0, 0) for pcm in sounds])


def test_the_checkpoint_has_five_files_under_20_mb():
    sizes = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir()}
    names = ("config.json", "mimi.safetensors", "mimi_config.json", "model.safetensors", "tokenizer.model")
    assert tuple(sorted(sizes)) == names
    assert sum(sizes.values()) < 20_000_000


def test_a_question_is_answered_at_several_levels_and_start_times(demo: Demo):
    sounds = [question(gain, before_s) for gain, before_s in ((1, 1.0), (0.4, 1.03), (2, 1.05), (1, 0.5))]
    outcomes = outcomes_for(demo, sounds)
    assert sum(outcome.text == ANSWER for outcome in outcomes) >= 3, [outcome.text for outcome in outcomes]
    spoken = [np.sqrt(np.mean(np.square(outcome.pcm))) for outcome in outcomes]
    assert min(spoken) > 0.005


def test_silence_music_foreign_speech_and_noise_give_known_words_and_finite_sound(demo: Demo):
    rng, samples = np.random.default_rng(0), 12 * SAMPLE_RATE_HZ
    loud = np.sign(trials.white(rng, samples, 0))
    outcomes = outcomes_for(
        demo, [np.zeros(samples, np.float32), trials.music(rng, samples), trials.foreign(rng, samples), loud]
    )
    words = {word for answer in conversation.answers() for word in answer.split()}
    for outcome in outcomes:
        assert set(outcome.text.split()) <= words
        assert np.isfinite(outcome.pcm).all()
        assert np.abs(outcome.pcm).max() < 2
    assert outcomes[0].text == conversation.GREETING
