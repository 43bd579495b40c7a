"""The random checkpoints whose tokens are compared with the reference's, and their input sound.

They cover everything that may differ between published checkpoints: stacked or split projections, dtypes, the size of
Mimi, streams, delays, a context shorter than the call, weight schedules, low-rank embeddings, PersonaPlex.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from model.checkpoints.random import BABBLE, small_mimi, write_checkpoint

FRAMES = 100
PCM_STEP = 37  # every 37th sample of the sound is kept: several of every frame, at different positions


@dataclass(frozen=True)
class Case:
    """One checkpoint. `depth` is the number of depth steps to which the reference is cut; ours cuts them itself."""

    lm: dict[str, Any] = field(default_factory=dict)
    mimi: dict[str, Any] | None = None
    seed: int = 0
    dtype: torch.dtype = torch.float32
    stacked: bool = True
    depth: int | None = None

    def write(self, directory: Path) -> None:
        write_checkpoint(directory, BABBLE | self.lm, self.mimi, seed=self.seed, dtype=self.dtype, stacked=self.stacked)


def _wide_mimi() -> dict[str, Any]:
    """Mimi with other strides, two residual layers, a window that wraps within the call, and no layer scale."""
    mimi = small_mimi(bins=64, codebooks=6, width=48, filters=4)
    mimi["seanet"] |= {"ratios": [8, 5, 4, 3], "n_residual_layers": 2, "kernel_size": 5}
    mimi["transformer"] |= {"context": 33, "num_heads": 3, "layer_scale": None}
    return mimi


CASES: dict[str, Case] = {
    "babble": Case(),
    "split_bf16": Case({"context": 64}, seed=1, dtype=torch.bfloat16, stacked=False),
    "long_delays": Case(
        {
            "dim": 96,
            "num_heads": 3,
            "num_layers": 2,
            "depformer_dim": 48,
            "depformer_num_heads": 3,
            "depformer_num_layers": 1,
            "depformer_dim_feedforward": 198,
            "n_q": 10,
            "dep_q": 5,
            "card": 128,
            "context": 17,
            "delays": [0, 1, 2, 2, 2, 3, 1, 2, 2, 2, 3],
        },
        seed=2,
    ),
    "schedule_low_rank": Case(
        {
            "depformer_weights_per_step_schedule": [0, 1, 2, 2, 2, 3, 3, 3],
            "depformer_low_rank_embeddings": 16,
            "context": 700,  # more than one chunk of keys
        },
        seed=3,
        stacked=False,
    ),
    "wide_mimi_f16": Case(
        {"n_q": 9, "dep_q": 3, "card": 64, "delays": [0, 0, 1, 2, 0, 1, 1, 1, 1, 1], "hidden_scale": 4, "context": 40},
        _wide_mimi(),
        seed=4,
        dtype=torch.float16,
    ),
    "personaplex": Case({"dep_q": 16, "num_layers": 2, "depformer_num_layers": 3, "context": 90}, seed=5, depth=8),
    "one_codebook": Case(
        {"n_q": 2, "dep_q": 1, "delays": [0, 1, 0], "card": 100, "context": 60}, small_mimi(bins=100), seed=7
    ),
    "shared_input": Case(
        {"depformer_multi_linear": False, "norm": "rms_norm", "context": 120, "text_card": 700, "text_card_out": 650},
        seed=6,
    ),
}


def speech_like(frames: int = FRAMES, seed: int = 0) -> NDArray[np.int16]:
    """A chirping, noisy sound with pauses, int16 [frames · FRAME_SAMPLES]."""
    rng = np.random.Generator(np.random.PCG64(seed))
    time_s = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    voice = np.sin(2 * np.pi * (150 + 80 * np.sin(3 * time_s)) * time_s) * np.abs(np.sin(5 * time_s)) * 0.3
    hiss = (rng.random(len(time_s)) - 0.5) * 0.2 * np.abs(np.sin(2 * time_s))
    return np.round((voice + hiss) * 32767).astype(np.int16)
