"""Stage 2: make the language data with the codec: the vocabulary, the coded answers, and thousands of coded calls.

usage: python -m model.demo.language_data --codec DIR --out DIR [--shards N]

The content of a shard depends only on the seed and the shard's number. Shards that exist are not made again, so an
interrupted run is continued by starting it again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from model.command_line import print_to_any_terminal
from model.demo import conversation
from model.demo.answers import AnswerBook, durations_s, make_book
from model.demo.codes import encode, load_codec
from model.demo.dialogues import compose
from model.demo.speech import CALLER_VOICES, HELD_OUT_VOICES, Voice
from model.demo.words import align_ends, train_tokenizer
from model.network.mimi import Mimi

CALL_FRAMES = 400  # 32 s
SHARD_CALLS = 64
_BATCH = 16  # calls coded at once; more do not fit the cache of a core
VALID_SHARDS = 2  # with held-out voices
CODEC, TOKENIZER, BOOK = "mimi.safetensors", "tokenizer.model", "answers.npz"


def main(argv: list[str] | None = None) -> int:
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.demo.language_data", description=__doc__)
    parser.add_argument(
        "--codec", type=Path, metavar="PATH", required=True, help="directory of mimi.safetensors and mimi_config.json"
    )
    parser.add_argument("--out", type=Path, metavar="PATH", required=True, help="directory for the data")
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        default=64,
        help="shards for training, each of 64 calls of 32 s (default 64, which are 36 hours)",
    )
    parser.add_argument("--workers", type=int, metavar="N", default=2, help="processes; each uses one core (default 2)")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the random choices (default 0)")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.workers)
    args.out.mkdir(parents=True, exist_ok=True)
    halve_codec(args.codec, args.out)
    mimi = load_codec(args.out)
    _book(args.out, mimi)
    named = [(f"valid-{n:03}", HELD_OUT_VOICES, 1_000_000 + n) for n in range(VALID_SHARDS)]
    named += [(f"train-{n:03}", CALLER_VOICES, n) for n in range(args.shards)]
    waiting = [(args.out / f"{name}.npy", voices, [args.seed, number]) for name, voices, number in named]
    waiting = [shard for shard in waiting if not shard[0].exists()]
    with ProcessPoolExecutor(args.workers, get_context("spawn"), initializer=_start_worker) as pool:
        made = [pool.submit(write_shard, *shard) for shard in waiting]
        for shard in tqdm(as_completed(made), total=len(made), desc="Calls", unit="shard", disable=None):
            shard.result()
    return 0


def write_shard(path: Path, voices: tuple[Voice, ...], seed: Sequence[int]) -> None:
    """Make one shard with the codec and the answers in its directory, and write it atomically."""
    mimi, book = load_codec(path.parent), AnswerBook.load(path.parent / BOOK)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, make_shard(np.random.default_rng(seed), voices, mimi, book))
    part.replace(path)


def make_shard(
    rng: np.random.Generator, voices: tuple[Voice, ...], mimi: Mimi, book: AnswerBook,
    calls: int = SHARD_CALLS, frames: int = CALL_FRAMES,
) -> NDArray[np.int16]:  # fmt: skip
    """Make calls: int16 [calls, frames, 2 + 2K] with the model's text and codes, the caller's codes and words."""
    lengths = durations_s(conversation.answers())
    drawn = [compose(rng, voices[int(rng.integers(len(voices)))], frames, lengths) for _ in range(calls)]
    sounds = [np.stack([call.caller for call in drawn[at : at + _BATCH]]) for at in range(0, calls, _BATCH)]
    heard = np.concatenate([encode(mimi, sound) for sound in sounds])
    spoken = np.stack([book.track(call.lines, frames) for call in drawn])
    numbers = {word: 1 + at for at, word in enumerate(conversation.caller_words())}
    words = [align_ends([(numbers[word], end_s) for word, end_s in call.words], frames) for call in drawn]
    return np.concatenate([spoken, heard, np.stack(words)[..., None]], axis=2)


def load_shards(directory: Path, kind: str) -> NDArray[np.int16]:
    """All calls of one kind, "train" or "valid": int16 [N, frames, 2 + 2K]."""
    paths = sorted(directory.glob(f"{kind}-*.npy"))
    if not paths:
        raise SystemExit(f"{directory} has no {kind} calls. Run python -m model.demo.language_data first.")
    return np.concatenate([np.load(path) for path in paths])


def halve_codec(source: Path, target: Path) -> None:
    """Copy a codec in float16, so that the data is made with exactly the weights of the final checkpoint."""
    halved = {name: tensor.half() for name, tensor in load_file(source / CODEC).items()}
    if beyond := [name for name, tensor in halved.items() if not tensor.isfinite().all()]:
        raise SystemExit(f"The codec in {source} has weights too large for float16: {', '.join(beyond)}.")
    if (target / CODEC).exists():
        held = load_file(target / CODEC)
        if held.keys() != halved.keys() or not all(torch.equal(held[name], halved[name]) for name in held):
            raise SystemExit(
                f"The data in {target} was made with another codec. Delete the directory and run this again."
            )
        return
    shutil.copyfile(source / "mimi_config.json", target / "mimi_config.json")
    save_file(halved, target / CODEC)


def _book(directory: Path, mimi: Mimi) -> None:
    answers = conversation.answers()
    tokenizer, path = directory / TOKENIZER, directory / BOOK
    if not tokenizer.exists():
        tokenizer.write_bytes(train_tokenizer(answers))
    if not path.exists():
        words = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer))
        make_book(answers, mimi, words).save(path)
    book = AnswerBook.load(path)
    if {answer for answer, _ in book.tracks} != set(answers):
        raise SystemExit(
            f"The data in {directory} was made with other answers. Delete the directory and run this again."
        )


def _start_worker() -> None:
    torch.set_num_threads(1)  # one process for each core is faster than threads


if __name__ == "__main__":
    sys.exit(main())
