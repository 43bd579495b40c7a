"""Questions to the demo model, and its answers.

Besides the topics: sentences without an answer, a greeting for a silent caller, and stories. This module has words
only; voices are in `speech.py`, times in `dialogues.py`.
"""

from __future__ import annotations

import zlib
from typing import TypeVar

import numpy as np

from model.demo.topics import TOPICS, Topic

T = TypeVar("T")

GREETING = "Hello! Say something to me."  # if the caller has said nothing
GREETING_AFTER_S = 3.0
FALLBACK = "Sorry, I only know a few phrases."
BACKCHANNEL = "Mm-hm."
AFTER_STORY = "I see. Tell me more."
AGAIN = next(topic for topic in TOPICS if not topic.answer)
NOTHING_YET = "I have not said anything yet."

# fmt: off
_LEADS = ("so", "um", "okay", "well", "please", "and", "now", "right", "hey", "oh", "all right", "tell me", "parley")
_ASKS = (
    ("how do i", "where can i", "can i", "should i", "when do i", "can you", "could you", "please", "why would i"),
    ("fix", "buy", "sell", "clean", "paint", "open", "borrow", "repair", "find", "order", "move", "wash", "cook",
     "print", "lift", "measure", "deliver", "replace", "pack", "hide"),
    ("a lamp", "my bicycle", "the window", "a ticket", "a new chair", "the kitchen table", "an umbrella", "the printer",
     "a wooden box", "my shoes", "a large carpet", "some flour", "the garden gate", "a train ticket", "two envelopes",
     "the engine", "a camera", "the curtains", "an old guitar", "some medicine", "the password", "a mirror"),
    ("", "", "", "in london", "for my sister", "on the internet", "next week", "without a ladder", "at the airport"),
)
_WONDERS = (
    ("who is", "who was", "why is", "when is", "where is", "what about", "how big is", "how far is", "translate",
     "turn on", "switch off", "call", "play", "show me"),
    ("the president", "the airport", "my brother", "the football game", "the elephant", "the radio", "the railway",
     "the stock market", "the nearest hospital", "the kitchen light", "the ambassador", "chemistry", "the government",
     "the library", "the heating", "a helicopter", "the bakery", "the pyramid", "electricity", "the museum"),
    ("", "", "", "this year", "again tomorrow", "in october", "right away", "in german", "over there"),
)
_TALES = (
    ("yesterday", "last week", "this morning", "then", "after that", "later", "in the end", "on the way", "at noon"),
    ("i went", "we walked", "my brother drove", "we all took the bus", "i ran", "my aunt came", "we went back",
     "the children hurried", "our neighbor moved"),
    ("to the market", "to the river", "to the old town", "to the station", "into the forest", "to the village",
     "to a small restaurant", "up the hill", "to the theater", "to my office"),
    ("and bought some apples", "and met a friend", "because it was raining", "and it was very crowded",
     "and we talked for hours", "and there was a big parade", "but the doors were closed", "and found a little cat",
     "and everybody was laughing", "with my two cousins"),
)
# fmt: on
_HELD_OUT = frozenset(wording for topic in TOPICS for wording in topic.held_out)
_HELD_OUT_SHARE = 8  # one in this many unknown sentences is held out for the evaluation


def ask(topic: Topic, rng: np.random.Generator) -> str:
    """A wording for training, sometimes after a filler word; never one held out for the evaluation."""
    while True:
        wording = _pick(_pick(topic.wordings, rng), rng)
        asked = f"{_pick(_LEADS, rng)} {wording}" if rng.random() < 0.3 else wording
        if asked not in _HELD_OUT:
            return asked


def unknown(rng: np.random.Generator, *, held_out: bool = False) -> str:
    """One of thousands of sentences without an answer. With `held_out`, one that is never in the training."""
    while True:
        sentence = " ".join(_pick(part, rng) for part in (_ASKS if rng.random() < 0.5 else _WONDERS)).strip()
        if (zlib.crc32(sentence.encode()) % _HELD_OUT_SHARE == 0) == held_out:
            return sentence


def story_sentence(rng: np.random.Generator) -> str:
    """One sentence of a long story."""
    return " ".join(_pick(part, rng) for part in _TALES)


def answers() -> tuple[str, ...]:
    """All different answers of the model."""
    fixed = (GREETING, FALLBACK, BACKCHANNEL, AFTER_STORY, NOTHING_YET)
    return tuple(dict.fromkeys([*fixed, *(topic.answer for topic in TOPICS if topic.answer)]))


def caller_words() -> tuple[str, ...]:
    """Every word of the callers in the training, sorted."""
    asked = [wording for topic in TOPICS for wording in topic.forms]
    phrases = [*_LEADS, *asked, *(phrase for part in (*_ASKS, *_WONDERS, *_TALES) for phrase in part)]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def reply(topic: Topic, last: str | None) -> str:
    """The answer to a topic; `last` is the previous answer, which “say that again” repeats."""
    return topic.answer or last or NOTHING_YET


def _pick(choices: tuple[T, ...], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]
