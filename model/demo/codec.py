"""Stage 1: train the codec, a small Mimi, on speech, in the modules that the server runs.

usage: python -m model.demo.codec --out DIR [--steps N]

Resumes from DIR/training.pt if that exists. The mean losses of every 50 steps are appended to DIR/curves.jsonl as JSON
(and drawn in DIR/curves.png, with matplotlib). Each time the training is saved, the codec is also written to DIR in the
published layout. The first part of the training runs without the quantizer: codebooks that are filled before the
latents differ collapse.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from model.command_line import print_to_any_terminal
from model.demo.codec_clips import latents, sounds
from model.demo.codec_config import fresh_codec, write_codec
from model.demo.codec_curves import draw_curves
from model.demo.codec_data import SPOKEN_PER_FRAME, Clips, Corpus
from model.demo.codec_losses import SpectralDistance
from model.demo.codec_quantizer import CodebookTrainer

_CLIPS = 6
_PEAK_RATE, _LEAST_RATE, _WARM_UP_STEPS = 1e-3, 2e-5, 200
_UNQUANTISED_SHARE = 0.4  # of the steps, at the beginning
_KMEANS_LATENTS = 8192  # at least as many initialise the codebooks
_PROJECTED_RMS = 1.0  # target for the quantizer's input
_WEIGHTS = {"sound": 1.0, "phonemes": 1.0, "commitment": 1.0, "size": 0.05}
_REPORT_STEPS, _SAVE_STEPS = 50, 250
_MODEL_TAKES, _CALLER_TAKES = 1200, 3000


class CodecTraining:
    """The codec in training, with its optimizer and the layers that are dropped afterwards."""

    def __init__(self, classes: int, steps: int, seed: int):
        self.steps, self.step = steps, 0
        self.rng = torch.Generator().manual_seed(seed)
        self.mimi = fresh_codec(self.rng)
        self.semantic = CodebookTrainer(self.mimi.quantizer.first)
        self.acoustic = CodebookTrainer(self.mimi.quantizer.rest)
        self.phoneme_head = nn.Linear(self.mimi.config.quantizer.dimension, SPOKEN_PER_FRAME * classes)
        nn.init.zeros_(self.phoneme_head.weight)
        nn.init.zeros_(self.phoneme_head.bias)
        self.distance = SpectralDistance()
        self.learned = [*(p for p in self.mimi.parameters() if p.requires_grad), *self.phoneme_head.parameters()]
        self.optimizer = torch.optim.AdamW(self.learned, _PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.01)

    @property
    def quantised(self) -> bool:
        """Whether the quantizer is used at this step."""
        return self.step >= _UNQUANTISED_SHARE * self.steps

    def train_step(self, clips: Clips) -> dict[str, float]:
        """Run one training step. Returns its losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps)
        losses = self.losses(clips)
        total = sum((_WEIGHTS[name] * loss for name, loss in losses.items()), torch.zeros(()))
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.optimizer.step()
        self.step += 1
        return {name: loss.item() for name, loss in losses.items()}

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        """The losses by name.

        `sound`: distance of the decoded sound. `phonemes`: cross-entropy of the phonemes predicted from the semantic
        vectors. `commitment`: distance of the latents from their codebook vectors. `size`: deviation of the latents'
        RMS from its target; without it, straight-through gradients let the latents grow without limit.
        """
        latent = latents(self.mimi, clips.heard)
        first, rest = self.mimi.quantizer.first, self.mimi.quantizer.rest
        zero = torch.zeros(())
        meaning, detail = (half.input_proj(latent.flatten(0, 1)) for half in (first, rest))
        size = sum(((part.square().mean() / _PROJECTED_RMS**2).log().square() for part in (meaning, detail)), zero)
        commitment = zero
        if self.quantised:
            semantic, acoustic = self.semantic(meaning, self.rng), self.acoustic(detail, self.rng)
            meaning, detail = semantic.vectors, acoustic.vectors
            commitment = semantic.commitment + acoustic.commitment
        # The sound loss has no gradient into the semantic codes: it would fill them with loudness and pitch.
        seen = first.output_proj(meaning.detach()) + rest.output_proj(detail)
        sound = sounds(self.mimi, seen.view_as(latent))
        distance = (self.distance(sound, clips.wanted) * clips.weight).sum() / clips.weight.sum()
        guesses = self.phoneme_head(meaning).view(clips.phonemes.numel(), -1)
        phonemes = F.cross_entropy(guesses, clips.phonemes.flatten())
        return {"sound": distance, "phonemes": phonemes, "commitment": commitment, "size": size}

    @torch.no_grad()
    def start_codebooks(self, corpus: Corpus, rng: np.random.Generator) -> None:
        """Initialise the codebooks by k-means on at least `_KMEANS_LATENTS` latents."""
        found: list[Tensor] = []
        while sum(map(len, found)) < _KMEANS_LATENTS:
            found.append(latents(self.mimi, corpus.draw(rng, 4 * _CLIPS).heard).flatten(0, 1))
        quantizer, flat = self.mimi.quantizer, torch.cat(found)
        self.semantic.start(quantizer.first.input_proj(flat), self.rng)
        self.acoustic.start(quantizer.rest.input_proj(flat), self.rng)

    def save(self, path: Path) -> None:
        """Save the state of the training atomically."""
        held = {
            "step": self.step,
            "mimi": self.mimi.state_dict(),
            "phoneme_head": self.phoneme_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averages": (self.semantic.state, self.acoustic.state),
            "rng": self.rng.get_state(),
        }
        torch.save(held, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def load(self, path: Path) -> None:
        """Restore a saved state. The number of steps may differ from that of the saved run."""
        held = torch.load(path, weights_only=True)
        self.step = held["step"]
        self.mimi.load_state_dict(held["mimi"])
        self.phoneme_head.load_state_dict(held["phoneme_head"])
        self.optimizer.load_state_dict(held["optimizer"])
        for trainer, averages in zip((self.semantic, self.acoustic), held["averages"], strict=True):
            for ours, theirs in zip(trainer.state, averages, strict=True):
                ours.copy_(theirs)
        self.rng.set_state(held["rng"])


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a decay along half a cosine."""
    part = max(0, step - _WARM_UP_STEPS) / max(1, steps - _WARM_UP_STEPS)
    cosine = _LEAST_RATE + (_PEAK_RATE - _LEAST_RATE) * (1 + math.cos(math.pi * min(1.0, part))) / 2
    return cosine * min(1.0, (step + 1) / _WARM_UP_STEPS)


def train(out: Path, steps: int, seed: int = 0) -> None:
    """Train for `steps` in all, resuming from the last save if there is one."""
    out.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(seed, _MODEL_TAKES, _CALLER_TAKES)
    training = CodecTraining(corpus.classes, steps, seed)
    saved, curves = out / "training.pt", out / "curves.jsonl"
    if saved.exists():
        training.load(saved)
    recent: dict[str, list[float]] = defaultdict(list)
    progress = tqdm(range(training.step, steps), initial=training.step, total=steps, unit="step", mininterval=5)
    for step in progress:
        rng = np.random.default_rng((seed, step))  # seeded by the step, so that a resumed run draws new clips
        if training.quantised and not training.semantic.started:
            training.start_codebooks(corpus, rng)
        for name, loss in training.train_step(corpus.draw(rng, _CLIPS)).items():
            recent[name].append(loss)
        if training.step % _REPORT_STEPS == 0 or training.step == steps:
            means = {name: round(sum(values) / len(values), 4) for name, values in recent.items()}
            recent.clear()
            progress.set_postfix(means)
            with curves.open("a") as file:
                file.write(json.dumps({"step": training.step, **means}) + "\n")
        if training.step % _SAVE_STEPS == 0 or training.step == steps:
            training.save(saved)
            write_codec(out, training.mimi)
            draw_curves(curves)


def main(argv: list[str] | None = None) -> int:
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.demo.codec", description=__doc__)
    parser.add_argument(
        "--out", type=Path, metavar="PATH", required=True, help="directory for the codec and the state of the training"
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        default=5000,
        help="number of training steps, including those before a resume (default 5000)",
    )
    arguments = parser.parse_args(argv)
    train(arguments.out, arguments.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
