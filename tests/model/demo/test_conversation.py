"""The demo's wordings: their number, and that those for the evaluation are not in the training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import sentencepiece

from model.demo import conversation
from model.demo.topics import TOPICS
from model.demo.words import END_PAD, PAD, align, align_ends, train_tokenizer


def test_there_are_enough_topics_each_with_several_wordings_of_its_own():
    owners = Counter(form for topic in TOPICS for form in {*topic.forms, *topic.held_out})
    assert len(TOPICS) >= 40
    assert all(len(topic.wordings) >= 5 and len(topic.held_out) >= 2 for topic in TOPICS)
    assert all(forms for topic in TOPICS for forms in topic.wordings)
    assert [form for form, count in owners.items() if count > 1] == []


def test_answers_are_short():
    assert all(len(answer.split()) <= 12 for answer in conversation.answers())


def test_a_question_is_asked_in_a_trained_wording_only():
    rng = np.random.default_rng(0)
    topic = TOPICS[0]
    asked = {conversation.ask(topic, rng) for _ in range(1000)}
    assert all(any(question.endswith(form) for form in topic.forms) for question in asked)
    assert set(topic.forms) < asked  # with and without a filler word


def test_held_out_wordings_are_never_asked_in_training():
    rng = np.random.default_rng(0)
    kept = {wording for topic in TOPICS for wording in topic.held_out}
    assert kept.isdisjoint(form for topic in TOPICS for form in topic.forms)
    assert kept.isdisjoint(conversation.ask(topic, rng) for topic in TOPICS for _ in range(100))


def test_unknown_sentences_are_many_and_some_are_held_out():
    rng = np.random.default_rng(0)
    trained = {conversation.unknown(rng) for _ in range(2000)}
    kept = {conversation.unknown(rng, held_out=True) for _ in range(500)}
    assert len(trained) > 1000
    assert trained.isdisjoint(kept)


def test_say_that_again_repeats_the_last_answer():
    assert conversation.AGAIN.name == "again"
    assert conversation.reply(conversation.AGAIN, None) == conversation.NOTHING_YET
    assert conversation.reply(conversation.AGAIN, "Grass is green.") == "Grass is green."


def test_the_vocabulary_has_one_token_for_each_word_of_the_answers():
    words = sentencepiece.SentencePieceProcessor(model_proto=train_tokenizer(conversation.answers()))
    for answer in conversation.answers():
        pieces = words.encode(answer)
        assert words.decode(pieces) == answer
        assert len(pieces) == len(answer.split())
        assert not {END_PAD, PAD} & set(pieces)


def test_a_word_is_in_its_frame_with_end_pad_in_the_frame_before():
    text = align([[10], [11], [12, 13], [14]], [1, 2, 6, 7], 12)
    assert text.tolist() == [END_PAD, 10, 11, PAD, PAD, END_PAD, 12, 13, 14, PAD, PAD, PAD]


def test_a_callers_word_is_in_the_frame_after_its_end():
    words = align_ends([(7, 0.05), (8, 0.10), (9, 0.12), (5, 0.9)], 8)
    assert words.tolist() == [0, 7, 8, 9, 0, 0, 0, 0]


def test_every_word_that_callers_say_is_in_the_list():
    rng = np.random.default_rng(1)
    known = set(conversation.caller_words())
    said = [conversation.ask(topic, rng) for topic in TOPICS] + [conversation.unknown(rng) for _ in range(200)]
    said += [conversation.story_sentence(rng) for _ in range(50)]
    assert {word for sentence in said for word in sentence.split()} <= known
