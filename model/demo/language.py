"""Stage 3: train the temporal and depth transformers on the language data, in the modules that the server runs.

usage: python -m model.demo.language --data DIR --out DIR [--steps N] [--device cuda]

Resumes from OUT/training.pt if that exists. Losses are appended to OUT/curves.jsonl as JSON (and drawn in
OUT/curves.png, with matplotlib). Each time the training is saved, a checkpoint is also written to OUT/checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor
from tqdm import tqdm

from model.checkpoints.moshi_config import duplex_config
from model.command_line import print_to_any_terminal
from model.demo.answers import AnswerBook
from model.demo.codec_curves import draw_curves
from model.demo.conversation import caller_words
from model.demo.export import write_checkpoint
from model.demo.language_batches import TrainingBatch, draw
from model.demo.language_data import BOOK, TOKENIZER, load_shards
from model.demo.network import LANGUAGE, losses, make_network, make_optimisers, make_word_head

_PEAK_RATE, _LEAST_RATE, _WARM_UP_STEPS = 1e-3, 2e-5, 100
_REPORT_STEPS, _SAVE_STEPS = 10, 100
_VALID_CALLS = 32


def main(argv: list[str] | None = None) -> int:
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.demo.language", description=__doc__)
    parser.add_argument(
        "--data", type=Path, metavar="PATH", required=True, help="directory that model.demo.language_data wrote"
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", required=True, help="directory for the checkpoint and the curves"
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", default=3000, help="number of training steps in all (default 3000)"
    )
    parser.add_argument("--stop-after", type=int, metavar="N", help="save and stop after N steps; run again to resume")
    parser.add_argument("--batch", type=int, metavar="N", default=16, help="calls in a batch (default 16)")
    parser.add_argument("--device", default="cpu", help="device to train on: cpu or cuda (default cpu)")
    parser.add_argument("--threads", type=int, metavar="N", default=2, help="CPU threads (default 2)")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the random choices (default 0)")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(args.data, args.out, torch.device(args.device), args.seed)
    training.resume()
    training.run(args.steps, args.batch, args.stop_after)
    return 0


class Training:
    """A language model in training, with its optimisers, data and saved state."""

    def __init__(self, data: Path, out: Path, device: torch.device, seed: int):
        self._data, self._out, self._device = data, out, device
        self._calls = torch.from_numpy(load_shards(data, "train"))
        self._valid = torch.from_numpy(load_shards(data, "valid")[:_VALID_CALLS])
        self._quiet = torch.from_numpy(AnswerBook.load(data / BOOK).silence).long()
        mimi = json.loads((data / "mimi_config.json").read_text())
        words = sentencepiece.SentencePieceProcessor(model_file=str(data / TOKENIZER)).get_piece_size()
        self._raw = LANGUAGE | {"card": mimi["quantizer"]["bins"], "text_card": words}
        self._duplex = make_network(duplex_config(self._raw, mimi), device, seed)
        self._word_head = make_word_head(self._duplex, len(caller_words()), device)
        self._optimisers = make_optimisers(self._duplex, self._word_head)
        self._in_bf16 = multiplies_bf16(device)
        self._seed, self._step = seed, 0

    def run(self, steps: int, batch: int, stop_after: int | None = None) -> None:
        """Train until step `steps`, or for `stop_after` steps, saving every 100 steps and at the end."""
        last = steps if stop_after is None else min(steps, self._step + stop_after)
        unseen: dict[str, float] = {}
        with tqdm(total=steps, initial=self._step, desc="Language", unit="step", disable=None) as bar:
            while self._step < last:
                figures = self._train_step(batch, learning_rate(self._step, steps))
                self._step += 1
                bar.update()
                bar.set_postfix_str(" ".join(f"{name} {value:.3f}" for name, value in figures.items()))
                saving = self._step % _SAVE_STEPS == 0 or self._step == last
                if saving or not unseen:
                    unseen = {f"valid_{name}": value for name, value in self._validate().items()}
                if saving or self._step % _REPORT_STEPS == 0:
                    self._report(figures | unseen)
                if saving:
                    self._save()

    def resume(self) -> None:
        """Restore the last saved state if there is one."""
        path = self._out / "training.pt"
        if path.exists():
            saved = torch.load(path, map_location=self._device, weights_only=True)
            self._duplex.temporal.load_state_dict(saved["temporal"])
            self._duplex.depth.load_state_dict(saved["depth"])
            self._word_head.load_state_dict(saved["word_head"])
            for optimiser, state in zip(self._optimisers, saved["optimisers"], strict=True):
                optimiser.load_state_dict(state)
            self._step = saved["step"]

    def _train_step(self, calls: int, rate: float) -> dict[str, float]:
        rng = torch.Generator().manual_seed(self._seed * 1_000_003 + self._step)
        torch.manual_seed(rng.initial_seed())  # for the dropout
        chosen = torch.randint(len(self._calls), (calls,), generator=rng)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._in_bf16):
            found = losses(self._duplex, self._word_head, self._batch(self._calls[chosen], rng))
        groups = [group for optimiser in self._optimisers for group in optimiser.param_groups]
        for group in groups:
            group["lr"] = rate
        found.total.backward()
        torch.nn.utils.clip_grad_norm_([parameter for group in groups for parameter in group["params"]], 1.0)
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad()
        return found.figures()

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The losses on held-out callers, on the same windows every time."""
        self._duplex.eval()
        found = losses(self._duplex, self._word_head, self._batch(self._valid, torch.Generator().manual_seed(0)))
        self._duplex.train()
        return found.figures()

    def _batch(self, calls: Tensor, rng: torch.Generator) -> TrainingBatch:
        return draw(calls, self._duplex.config, rng, self._quiet).to(self._device)

    def _save(self) -> None:
        part = self._out / "training.part"
        state: dict[str, Any] = {
            "temporal": self._duplex.temporal.state_dict(),
            "depth": self._duplex.depth.state_dict(),
            "word_head": self._word_head.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "step": self._step,
        }
        torch.save(state, part)
        os.replace(part, self._out / "training.pt")
        draw_curves(self._out / "curves.jsonl")
        write_checkpoint(self._out / "checkpoint", self._duplex, self._raw, self._data)

    def _report(self, figures: dict[str, float]) -> None:
        with (self._out / "curves.jsonl").open("a") as file:
            file.write(json.dumps({"step": self._step} | {k: round(v, 4) for k, v in figures.items()}) + "\n")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether to train in bfloat16: on GPUs, and on CPUs with AVX512-BF16, where it makes a step a quarter shorter."""
    return device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a decay along half a cosine."""
    if step < _WARM_UP_STEPS:
        return _PEAK_RATE * (step + 1) / _WARM_UP_STEPS
    done = (step - _WARM_UP_STEPS) / max(1, steps - _WARM_UP_STEPS)
    return _LEAST_RATE + (_PEAK_RATE - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


if __name__ == "__main__":
    sys.exit(main())
