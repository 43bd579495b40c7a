"""Speech has the requested words with their times; augmentation keeps length and range, and is repeatable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.audio import SAMPLE_RATE_HZ
from model.demo.speech import CALLER_VOICES, HELD_OUT_VOICES, MODEL_VOICE, SpeechError, Voice, augment, say

pytest.importorskip("soxr")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARLEY_DEMO_CACHE", str(tmp_path))
    try:
        say("hello", MODEL_VOICE)
    except SpeechError as error:
        pytest.skip(str(error))
    return tmp_path


@pytest.mark.parametrize("voice", [MODEL_VOICE, CALLER_VOICES[7], HELD_OUT_VOICES[-1]])
def test_words_are_in_order_and_within_the_sound(voice: Voice):
    utterance = say("I'm one of the 42 people, as it were. Yes?", voice)
    assert [word for word, _, _ in utterance.words] == "I'm one of the 42 people, as it were. Yes?".split()
    edges = [edge for _, start_s, end_s in utterance.words for edge in (start_s, end_s)]
    assert edges == sorted(edges) and edges[0] == 0
    assert edges[-1] <= len(utterance.pcm) / SAMPLE_RATE_HZ + 1e-3
    assert all(end_s - start_s > 0.03 for _, start_s, end_s in utterance.words)


def test_pauses_between_phonemes_are_quiet():
    utterance = say("Sit. Sat.", MODEL_VOICE)
    assert [symbol for symbol, _, _ in utterance.phonemes] == ["s", "I", "t", "s", "a", "t"]
    (_, _, end_s), (_, start_s, _) = utterance.phonemes[2:4]
    pause = utterance.pcm[round((end_s + 0.05) * SAMPLE_RATE_HZ) : round((start_s - 0.05) * SAMPLE_RATE_HZ)]
    assert len(pause) and np.abs(pause).max() < 0.01 < np.abs(utterance.pcm).max() <= 1


def test_a_cached_utterance_repeats_exactly(cache: Path):
    first = say("what is your name", CALLER_VOICES[0])
    files = len(list(cache.rglob("*.npz")))
    again = say("what is your name", CALLER_VOICES[0])
    assert np.array_equal(first.pcm, again.pcm) and first.words == again.words and first.phonemes == again.phonemes
    assert len(list(cache.rglob("*.npz"))) == files


def test_voices_differ_and_held_out_voices_are_not_trained():
    timbres = {voice.variant for voice in CALLER_VOICES}
    assert not timbres & {voice.variant for voice in HELD_OUT_VOICES} and MODEL_VOICE.variant not in timbres
    voices = (*CALLER_VOICES[:20], *HELD_OUT_VOICES, MODEL_VOICE)
    assert len({say("hello", voice).pcm.tobytes() for voice in voices}) == len(voices)


def test_an_unknown_voice_and_a_text_without_sound_are_reported():
    with pytest.raises(SpeechError, match="no voice xx"):
        say("hello", Voice("xx", "f1", 50, 150))
    with pytest.raises(SpeechError, match="no sound"):
        say(" ", MODEL_VOICE)


def test_augmentation_changes_sound_within_range_and_repeats():
    pcm, babble = say("tell me a joke", CALLER_VOICES[3]).pcm, say("something else", CALLER_VOICES[9]).pcm
    changed = [augment(pcm, np.random.default_rng(seed), babble) for seed in range(40)]
    assert all(x.shape == pcm.shape and x.dtype == np.float32 and np.abs(x).max() <= 1 for x in changed)
    assert len({x.tobytes() for x in changed}) > 30
    assert np.array_equal(changed[5], augment(pcm, np.random.default_rng(5), babble))
    silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
    assert all(np.isfinite(augment(silence, np.random.default_rng(seed), silence)).all() for seed in range(20))
