"""Generated calls: when caller and model speak, and how answers become the model's track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.audio import FRAME_SAMPLES
from model.demo import conversation
from model.demo.answers import AnswerBook
from model.demo.dialogues import FRAME_S, Dialogue, Line, Scene, compose
from model.demo.speech import CALLER_VOICES, SAMPLE_RATE_HZ
from model.demo.words import PAD

FRAMES = 400
LENGTHS_S = dict.fromkeys(conversation.answers(), 1.6)
VOICE = CALLER_VOICES[0]


@pytest.fixture(autouse=True)
def speech_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PARLEY_DEMO_CACHE", str(tmp_path_factory.getbasetemp() / "speech"))


def scene(seed: int = 0) -> Scene:
    return Scene(np.random.default_rng(seed), VOICE, FRAMES, LENGTHS_S)


def call(seed: int) -> Dialogue:
    return compose(np.random.default_rng(seed), VOICE, FRAMES, LENGTHS_S)


def test_a_call_is_a_function_of_its_seed():
    assert call(3).lines == call(3).lines != call(4).lines
    assert call(3).caller.shape == (FRAMES * FRAME_SAMPLES,)


def test_the_model_answers_within_400_ms_of_the_question():
    drawn = scene()
    drawn.speak("tell me a joke")
    asked_s = drawn.clock_s
    drawn.answer("Grass is green.")
    (line,) = drawn.lines
    assert 0.2 <= line.frame * FRAME_S - asked_s < 0.4


def test_an_interrupted_answer_stops_and_the_new_question_is_answered():
    for seed in range(40):
        drawn = scene(seed)
        drawn.ask("tell me a joke", "Grass is green.")
        over_s = drawn.clock_s
        if drawn.lines[0].cut is None:
            continue
        drawn.ask("what color is snow", "Snow is white.")
        first, second = drawn.lines[:2]
        assert first.cut is not None
        assert 0.2 <= (first.frame + first.cut) * FRAME_S - over_s <= 0.35
        assert second.frame > first.frame + first.cut
        return
    pytest.fail("no answer was interrupted in 40 calls")


def test_the_model_hums_during_a_story_and_asks_for_more_after_it():
    drawn = scene()
    drawn.tell_story(3)
    assert [line.answer for line in drawn.lines] == [conversation.BACKCHANNEL, conversation.AFTER_STORY]


def test_a_silent_caller_is_greeted_once():
    silent = [drawn for drawn in map(call, range(60)) if len(drawn.lines) == 1]
    assert silent
    for drawn in silent:
        assert drawn.lines[0].answer == conversation.GREETING
        assert drawn.lines[0].frame * FRAME_S == pytest.approx(conversation.GREETING_AFTER_S, abs=FRAME_S)
    greetings = [[line.answer for line in call(seed).lines].count(conversation.GREETING) for seed in range(20)]
    assert max(greetings) == 1


def test_answers_are_copied_into_a_track_whole_or_cut(tmp_path: Path):
    whole = np.array([[0, 1, 1], [9, 2, 2], [8, 3, 3], [PAD, 4, 4]], np.int16)
    short = np.array([[0, 1, 1], [9, 2, 2], [PAD, 5, 5]], np.int16)
    AnswerBook(np.array([6, 6], np.int16), {("Hi.", 0): whole, ("Hi.", 1): short}).save(tmp_path / "book.npz")
    book = AnswerBook.load(tmp_path / "book.npz")
    track = book.track([Line("Hi.", 2), Line("Hi.", 6, cut=1), Line("Hi.", 9)], 10)
    assert track[:, 0].tolist() == [PAD, 0, 9, 8, PAD, 0, 9, PAD, 0, 9]
    assert track[:, 1].tolist() == [6, 1, 2, 3, 4, 1, 2, 5, 1, 2]


def test_speech_begins_and_ends_at_the_clock():
    drawn = scene()
    drawn.clock_s = 1.0
    drawn.speak("hello")
    raw = drawn._caller
    assert not raw[:SAMPLE_RATE_HZ].any()
    assert np.abs(raw[SAMPLE_RATE_HZ : round(drawn.clock_s * SAMPLE_RATE_HZ)]).max() > 0.05
    assert not raw[round(drawn.clock_s * SAMPLE_RATE_HZ) :].any()


def test_the_callers_words_have_their_end_times():
    drawn = scene()
    drawn.clock_s = 1.0
    drawn.speak("tell me a joke")
    words = drawn.finish().words
    assert [word for word, _ in words] == ["tell", "me", "a", "joke"]
    ends_s = [end_s for _, end_s in words]
    assert ends_s == sorted(ends_s) and 1.05 < ends_s[0] < 1.6
    assert ends_s[-1] == pytest.approx(drawn.clock_s, abs=0.1)


def test_callers_are_resampled_by_different_factors():
    lengths_s = set[float]()
    for seed in range(5):
        drawn = scene(seed)
        begun_s = drawn.clock_s
        drawn.speak("hello")
        lengths_s.add(round(drawn.clock_s - begun_s, 3))
    assert len(lengths_s) >= 4
