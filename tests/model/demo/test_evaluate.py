"""Trials use held-out wordings; times and right answers of outcomes are measured correctly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.audio import FRAME_SAMPLES
from model.checkpoints.random import BABBLE, small_mimi, write_checkpoint
from model.demo import conversation, evaluate, trials
from model.demo.evaluate import Outcome, write_card
from model.demo.speech import CALLER_VOICES, HELD_OUT_VOICES, SAMPLE_RATE_HZ
from model.demo.topics import TOPICS
from model.demo.trials import Trial


@pytest.fixture(autouse=True)
def speech_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PARLEY_DEMO_CACHE", str(tmp_path_factory.getbasetemp() / "speech"))


def _asked(**how: Any) -> Iterator[Trial]:
    return trials.questions(np.random.default_rng(0), CALLER_VOICES, each=1, **how)


def sounds_until_s(trial: Trial) -> float:
    return float(np.flatnonzero(np.abs(trial.pcm) > 1e-3)[-1]) / SAMPLE_RATE_HZ


def test_every_topic_is_asked_in_whole_frames_with_time_to_answer():
    asked = list(trials.questions(np.random.default_rng(0), HELD_OUT_VOICES, each=1))
    assert len(asked) == len(TOPICS)
    for trial in asked:
        assert len(trial.pcm) % FRAME_SAMPLES == 0
        assert trial.asked_s < 3  # before the greeting is due
        assert sounds_until_s(trial) == pytest.approx(trial.done_s, abs=0.1)
        assert len(trial.pcm) / SAMPLE_RATE_HZ - trial.done_s > 7


def test_noise_has_the_requested_level():
    (trial, *_) = _asked(through=trials.noisy(np.random.default_rng(0), 20))
    rest = trial.pcm[round((trial.done_s + 1) * SAMPLE_RATE_HZ) :]
    assert 20 * np.log10(0.08 / np.sqrt(np.mean(np.square(rest)))) == pytest.approx(20, abs=0.3)


def test_telephone_and_clipping_distort_the_voice_without_shifting_it():
    (clean, *_) = _asked()
    for through in (trials.telephone, trials.clipped):
        (trial, *_) = _asked(through=through)
        assert trial.pcm.shape == clean.pcm.shape
        likeness = trial.pcm @ clean.pcm / (np.linalg.norm(trial.pcm) * np.linalg.norm(clean.pcm))
        assert 0.7 < likeness < 0.999
    assert np.mean(np.abs(trial.pcm) == 1) > 0.001


def test_music_and_foreign_speech_fill_the_whole_trial():
    for make in (trials.music, trials.foreign):
        pcm = trials.no_question(make(np.random.default_rng(0), 20 * SAMPLE_RATE_HZ)).pcm
        assert len(pcm) % FRAME_SAMPLES == 0
        loudness = np.sqrt(np.square(pcm[: 20 * SAMPLE_RATE_HZ // 4 * 4].reshape(4, -1)).mean(1))
        assert (loudness > 0.01).all() and np.abs(pcm).max() < 1


def test_an_interruption_comes_while_the_answer_is_spoken():
    for trial in trials.interruptions(np.random.default_rng(0), CALLER_VOICES[:1], 4):
        before = np.flatnonzero(np.abs(trial.pcm[: round(trial.asked_s * SAMPLE_RATE_HZ)]) > 1e-3)[-1]
        assert 0.8 < trial.asked_s - before / SAMPLE_RATE_HZ < 1.5
        assert not trial.is_whole_text


def test_other_speeds_are_not_those_of_training():
    speeds = zip(trials.other_speeds(np.random.default_rng(0)), CALLER_VOICES, strict=True)
    assert all(not 0.85 <= other.speed_wpm / known.speed_wpm <= 1.2 for other, known in speeds)


def test_the_table_holds_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = tuple(topic for topic in TOPICS if topic.name in ("again", "stop", "joke"))
    for module in (trials, evaluate):
        monkeypatch.setattr(module, "TOPICS", few)
    said = (conversation.GREETING, conversation.BACKCHANNEL, *(topic.answer for topic in few if topic.answer))
    monkeypatch.setattr(conversation, "answers", lambda: said)
    monkeypatch.setattr(evaluate, "_NO_QUESTION_S", 3)
    write_checkpoint(tmp_path, BABBLE | {"card": 64}, small_mimi(64, width=32, filters=4))
    card = tmp_path / "card.md"
    card.write_text("<!-- figures -->\n<!-- /figures -->\n")
    assert evaluate.main(["--model", str(tmp_path), "--card", str(card), "--each", "1"]) == 0
    rows = [line.split("|")[1:3] for line in card.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 10 + 3 + 2 + 12
    assert dict(rows)[" right answer: unseen wordings, unseen voices (goal 70 %) "].endswith("% of 3 ")
    assert dict(rows)[" the original recordings: answers recognised "] == " 100 % of 3 "


def outcome(loud_s: list[tuple[float, float]], text: str = "", **trial: object) -> Outcome:
    pcm = np.zeros(6 * SAMPLE_RATE_HZ, np.float32)
    for start_s, end_s in loud_s:
        pcm[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)] = 0.1
    asked = {"pcm": pcm, "expected": "Snow is white.", "asked_s": 1.0, "done_s": 2.0} | trial
    return Outcome(Trial(**asked), [text], [0.0], pcm)  # pyright: ignore[reportArgumentType]


def test_the_time_to_answer_is_measured_from_the_end_of_the_question():
    assert outcome([(2.4, 3)]).answered_ms == pytest.approx(400)
    assert outcome([]).answered_ms is None


def test_the_time_to_stop_is_measured_from_the_interruption():
    assert outcome([(0.5, 1.3), (2.4, 3)]).stopped_ms == pytest.approx(300)
    assert outcome([(2.4, 3)]).stopped_ms is None  # the model was not speaking


def test_an_answer_is_right_only_if_its_text_equals_the_expected_text():
    assert outcome([], "Snow is white.").right
    assert not outcome([], "Hello! Snow is white.").right
    assert outcome([], "Hello! Snow is white.", is_whole_text=False).right


def test_a_new_table_replaces_the_old_one_in_the_card(tmp_path: Path):
    card = tmp_path / "card.md"
    card.write_text("# Card\n<!-- figures -->\nold\n<!-- /figures -->\nend\n")
    write_card(card, "| new |")
    assert card.read_text() == "# Card\n<!-- figures -->\n| new |\n<!-- /figures -->\nend\n"
    card.write_text("# Card\n")
    with pytest.raises(SystemExit):
        write_card(card, "| new |")


def test_utterances_are_separated_by_silence():
    nothing = np.zeros(1, np.float32)
    said = Outcome(Trial(nothing, "", 0, 0), ["Hello!", " Say", " Hi."], [0.5, 1.0, 3.0], nothing)
    assert said.utterances == ["Hello! Say", "Hi."]
    assert Outcome(said.trial, [], [], said.pcm).utterances == []
