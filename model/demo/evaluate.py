"""Measure the demo model on voices, speeds and wordings held out of its training. Print the table, and write the card.

usage: python -m model.demo.evaluate [--model DIR] [--each N] [--card README.md]

Every trial is a call through the steps that the server runs, with the default sampling. Times are those of the
delivered sound: the answer to a frame is played when the next frame begins.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.command_line import print_to_any_terminal
from model.demo import conversation, trials
from model.demo.answers import model_says
from model.demo.codes import decode, encode
from model.demo.recogniser import Recogniser
from model.demo.speech import CALLER_VOICES, HELD_OUT_VOICES, SAMPLE_RATE_HZ
from model.demo.topics import TOPICS
from model.demo.trials import Trial
from model.modes.duplex import Duplex, DuplexInputs
from model.network.sampling import SamplingPlan
from model.tokenizer import TextStream, Tokenizer

HERE = Path(__file__).parent
_BATCH = 48
_NO_QUESTION_S = 600
_LOUD = 0.01  # RMS over 20 ms; the voice's is 0.08
_WINDOW_SAMPLES = SAMPLE_RATE_HZ // 50
_INTERRUPTION = "a question while it speaks"
_PLAN = SamplingPlan(unbounded=False, penalised=False, padded=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a trial: text pieces, the time of each (s), and the sound on the caller's clock."""

    trial: Trial
    pieces: list[str]
    piece_s: list[float]
    pcm: NDArray[np.float32]

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()

    @property
    def right(self) -> bool:
        expected = self.trial.expected
        return self.text == expected if self.trial.is_whole_text else self.text.endswith(expected)

    @property
    def utterances(self) -> list[str]:
        """The text, split where more than a second passed between two pieces."""
        texts: list[str] = []
        for at_s, before_s, piece in zip(self.piece_s, [-10.0, *self.piece_s], self.pieces, strict=False):
            if at_s - before_s > 1:
                texts.append("")
            texts[-1] += piece
        return [text.strip() for text in texts]

    @property
    def answered_ms(self) -> float | None:
        """Time from the end of the question to the next sound; None if there was no sound."""
        loud = np.flatnonzero(_loud(self.pcm, self.trial.done_s))
        return 1000 * _seconds(loud[0]) if len(loud) else None

    @property
    def stopped_ms(self) -> float | None:
        """Time from the interruption to 300 ms of silence; None if the model was silent or did not stop."""
        loud = _loud(self.pcm, self.trial.asked_s)
        still = round(0.3 * SAMPLE_RATE_HZ / _WINDOW_SAMPLES)
        runs = np.convolve(loud, np.ones(still), "valid")
        silent = np.flatnonzero(runs == 0)
        return 1000 * _seconds(silent[0]) if loud[:5].any() and len(silent) else None


def main(argv: list[str] | None = None) -> int:
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.demo.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, metavar="PATH", default=HERE / "checkpoint", help="checkpoint directory")
    parser.add_argument(
        "--each", type=int, metavar="N", default=2, help="trials for each topic and condition (default 2)"
    )
    parser.add_argument(
        "--card", type=Path, metavar="PATH", default=HERE / "README.md", help="file to write the table into"
    )
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the random choices (default 0)")
    args = parser.parse_args(argv)
    duplex, tokenizer = build(find(in_directory(args.model)), torch.device("cpu"), torch.float32)
    table = evaluate(duplex, tokenizer, args.each, np.random.default_rng([args.seed, 7]))
    print(table)
    write_card(args.card, table)
    return 0


def evaluate(duplex: Duplex, tokenizer: Tokenizer, each: int, rng: np.random.Generator) -> str:
    """Run all trials. Returns the table in Markdown."""
    outcomes = {
        name: converse(duplex, tokenizer, list(chosen), name) for name, chosen in _conditions(each, rng).items()
    }
    asked = [o for name in list(outcomes)[:4] for o in outcomes[name]]
    answered_ms, stopped_ms = [o.answered_ms for o in asked if o.right], [o.stopped_ms for o in outcomes[_INTERRUPTION]]
    rows = [(f"right answer: {name}", _share([o.right for o in found])) for name, found in outcomes.items()]
    rows += _spoken_rows(duplex, [o for o in asked if o.right])
    rows.append(("start of the answer after the question's end, median (goal 500 ms)", _median(answered_ms)))
    rows.append(("silent after an interruption, median (goal 600 ms)", _median(stopped_ms)))
    rows += _no_question_rows(duplex, tokenizer, rng)
    return "\n".join(["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _conditions(each: int, rng: np.random.Generator) -> dict[str, Iterable[Trial]]:
    """The trials by the name of their condition. The first four have one plain question each."""
    trained, speeds, unseen = CALLER_VOICES, trials.other_speeds(rng), HELD_OUT_VOICES
    count = max(1, len(TOPICS) // 3) * each
    return {
        "trained wordings, trained voices": trials.questions(rng, trained, each=each, seen=True),
        "unseen wordings and speeds, trained voices (goal 90 %)": trials.questions(rng, speeds, each=each),
        "unseen wordings, 20 dB noise (goal 70 %)": trials.questions(
            rng, trained, each=each, through=trials.noisy(rng, 20)
        ),
        "unseen wordings, unseen voices (goal 70 %)": trials.questions(rng, unseen, each=each),
        "unseen wordings, telephone of 8 kHz": trials.questions(rng, trained, each=each, through=trials.telephone),
        "unseen wordings, clipped": trials.questions(rng, trained, each=each, through=trials.clipped),
        "“say that again” after an answer": trials.repeats(rng, trained, count),
        "unknown sentences": trials.unknowns(rng, trained, count),
        "stories: a hum, then a call for more": trials.stories(rng, trained, count),
        _INTERRUPTION: trials.interruptions(rng, trained, count),
    }


@torch.inference_mode()
def converse(duplex: Duplex, tokenizer: Tokenizer, chosen: list[Trial], name: str = "Trials") -> list[Outcome]:
    """Run trials through the model in batches."""
    outcomes: list[Outcome] = []
    for start in tqdm(range(0, len(chosen), _BATCH), desc=name[:40], unit="batch", disable=None):
        outcomes += _converse(duplex, tokenizer, chosen[start : start + _BATCH], start)
    return outcomes


def _converse(duplex: Duplex, tokenizer: Tokenizer, chosen: list[Trial], seed: int) -> list[Outcome]:
    frames = max(len(trial.pcm) for trial in chosen) // FRAME_SAMPLES
    heard = torch.zeros(len(chosen), frames, FRAME_SAMPLES)
    for row, trial in zip(heard, chosen, strict=True):
        row.view(-1)[: len(trial.pcm)] = torch.from_numpy(trial.pcm)
    state = duplex.make_state(len(chosen))
    seeds = torch.arange(len(chosen)) + seed
    choices = state.sampling
    choices.text_temperature.fill_(0.7)
    choices.text_top_k.fill_(25)
    choices.text_seed.copy_(seeds)
    choices.audio_temperature.fill_(0.8)
    choices.audio_top_k.fill_(250)
    choices.audio_seed.copy_(seeds)
    sound = np.zeros((len(chosen), (frames + 1) * FRAME_SAMPLES), np.float32)
    texts = [TextStream(tokenizer) for _ in chosen]
    pieces: list[list[tuple[float, str]]] = [[] for _ in chosen]
    for at in range(frames):
        frame = duplex.step(DuplexInputs(heard[:, at]), state, plan=_PLAN, longest=at)
        if at < duplex.config.max_delay:
            continue
        sound[:, (at + 1) * FRAME_SAMPLES : (at + 2) * FRAME_SAMPLES] = frame.pcm.numpy()
        for text, said, token in zip(texts, pieces, frame.tokens[:, 0].tolist(), strict=True):
            if piece := text.push(token):
                said.append(((at + 1) * FRAME_SAMPLES / SAMPLE_RATE_HZ, piece))
    return [
        Outcome(trial, [piece for _, piece in said], [at_s for at_s, _ in said], pcm)
        for trial, said, pcm in zip(chosen, pieces, sound, strict=True)
    ]


def _spoken_rows(duplex: Duplex, outcomes: list[Outcome]) -> list[tuple[str, str]]:
    """Rows: answers recognised in the model's speech, after the codec alone, and in the original recordings."""
    answers = [answer for answer in conversation.answers() if answer != conversation.BACKCHANNEL]
    recogniser = Recogniser(answers)
    said = [recogniser.hear(o.pcm[round(o.trial.done_s * SAMPLE_RATE_HZ) :]) == o.text for o in outcomes]
    originals = [model_says(answer).pcm for answer in answers]
    coded = [_through_codec(duplex, pcm) for pcm in originals]
    return [
        ("right answers recognised by pocketsphinx (goal 90 %)", _share(said)),
        ("the codec alone: answers recognised after coding", _share(_recognised(recogniser, coded, answers))),
        ("the original recordings: answers recognised", _share(_recognised(recogniser, originals, answers))),
    ]  # fmt: skip


def _recognised(recogniser: Recogniser, sounds: list[NDArray[np.float32]], answers: list[str]) -> list[bool]:
    return [recogniser.hear(pcm) == answer for pcm, answer in zip(sounds, answers, strict=True)]


def _through_codec(duplex: Duplex, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    frames = -(-len(pcm) // FRAME_SAMPLES) + 4
    padded = np.zeros((1, frames * FRAME_SAMPLES), np.float32)
    padded[0, 2 * FRAME_SAMPLES : 2 * FRAME_SAMPLES + len(pcm)] = pcm
    return decode(duplex.mimi, encode(duplex.mimi, padded))[0]


def _no_question_rows(duplex: Duplex, tokenizer: Tokenizer, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Rows: greetings and other utterances during sounds without a question."""
    samples = round(_NO_QUESTION_S * SAMPLE_RATE_HZ)
    sounds = {
        "silence": [np.zeros(samples, np.float32)],
        "noise of -60 to -30 dBFS": [trials.white(rng, samples, level_db) for level_db in range(-60, -29, 10)],
        "music": [trials.music(rng, samples)],
        "another language": [trials.foreign(rng, samples)],
    }
    calls = [trials.no_question(pcm) for found in sounds.values() for pcm in found]
    outcomes = iter(converse(duplex, tokenizer, calls, "No questions"))
    known, rows = set(conversation.answers()), []
    for name, found in sounds.items():
        said = [next(outcomes).utterances for _ in found]
        greeted = [texts[:1] == [conversation.GREETING] for texts in said]
        starts = sum(map(len, said)) - sum(greeted)
        minutes = len(found) * _NO_QUESTION_S / 60
        rows.append((f"{minutes:.0f} minutes of {name}: greets first", _share(greeted)))
        rows.append((f"{minutes:.0f} minutes of {name}: speaks up again, times a minute", f"{starts / minutes:.2f}"))
        rows.append((f"{minutes:.0f} minutes of {name}: whole answers in what it says",
                     _share([text in known for texts in said for text in texts])))  # fmt: skip
    return rows


def write_card(path: Path, table: str) -> None:
    """Replace the table between the two marks in the card."""
    marked = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
    card, found = marked.subn(lambda marks: f"{marks[1]}{table}\n{marks[2]}", path.read_text())
    if not found:
        raise SystemExit(f"{path} has no marks for the table. Add <!-- figures --> and <!-- /figures -->.")
    path.write_text(card)


def _loud(pcm: NDArray[np.float32], since_s: float) -> NDArray[np.bool_]:
    """Whether each window of 20 ms after `since_s` is loud."""
    sound = pcm[round(since_s * SAMPLE_RATE_HZ) :]
    windows = sound[: len(sound) // _WINDOW_SAMPLES * _WINDOW_SAMPLES].reshape(-1, _WINDOW_SAMPLES)
    return np.sqrt(np.square(windows).mean(1)) > _LOUD


def _seconds(windows: int) -> float:
    return float(windows) * _WINDOW_SAMPLES / SAMPLE_RATE_HZ


def _share(hits: list[bool]) -> str:
    return f"{100 * sum(hits) / len(hits):.0f} % of {len(hits)}" if hits else "none to measure"


def _median(values_ms: list[float | None]) -> str:
    known = [value for value in values_ms if value is not None]
    return f"{np.median(known):.0f} ms ({len(known)} of {len(values_ms)})" if known else "none to measure"


if __name__ == "__main__":
    sys.exit(main())
