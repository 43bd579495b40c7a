"""Encode and decode sound as in a call: frame by frame, for many calls at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import FRAME_SAMPLES
from model.checkpoints.layout import mimi_layout
from model.checkpoints.loader import load
from model.checkpoints.moshi_config import mimi_config
from model.checkpoints.pytorch import read_weights
from model.network.mimi import Mimi


def load_codec(directory: Path, codebooks: int = 8) -> Mimi:
    """Load the codec of a checkpoint directory, on the CPU."""
    config = mimi_config(json.loads((directory / "mimi_config.json").read_text()), codebooks)
    mimi = Mimi(config).to_empty(device="cpu")
    with torch.no_grad():
        load(read_weights(directory / "mimi.safetensors"), mimi_layout(mimi, config))
    return mimi.eval()


@torch.inference_mode()
def encode(mimi: Mimi, pcm: NDArray[np.float32]) -> NDArray[np.int16]:
    """Encode whole frames of sound f32 [N, F · FRAME_SAMPLES] to codes int16 [N, F, K].

    A server discards the codes of the first frame and resets the encoder after it; here these codes are zeros. Frames
    are encoded one by one, because a full window shows the two positions of a frame different numbers of keys.
    """
    frames = torch.from_numpy(pcm).unflatten(1, (-1, FRAME_SAMPLES))
    state = mimi.make_encoder_state(len(frames))
    codes = torch.zeros(len(frames), frames.shape[1], mimi.config.codebooks, dtype=torch.int16)
    for at in range(1, frames.shape[1]):
        codes[:, at] = mimi.encode(frames[:, at], state, None)[:, 0]
    return codes.numpy()


@torch.inference_mode()
def decode(mimi: Mimi, codes: NDArray[np.int16]) -> NDArray[np.float32]:
    """Decode codes int16 [N, F, K] to sound f32 [N, F · FRAME_SAMPLES], frame by frame."""
    state = mimi.make_decoder_state(len(codes))
    frames = torch.from_numpy(codes).long()
    return torch.cat([mimi.decode(frames[:, at : at + 1], state, None) for at in range(frames.shape[1])], 1).numpy()
