"""Write a trained demo model as a checkpoint in the published layout, which `model/checkpoints/build.py` loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.checkpoints.defaults import MOSHI_JSON
from model.checkpoints.layout import moshi_layout
from model.checkpoints.random import FILE_NAMES
from model.modes.duplex import Duplex

# The default temperature suits a model with a large vocabulary. This model chooses between a few sentences and should
# choose the likeliest more often, so its text logits are doubled after the training.
_TEXT_LOGIT_SCALE = 2


def write_checkpoint(directory: Path, duplex: Duplex, raw: dict[str, Any], data: Path) -> None:
    """Write all five files: the language model in bfloat16, and copies of the codec and the tokenizer in `data`.

    `raw` has the language model's arguments under their names in config.json. The file also gets the published default
    of every other argument, because Kyutai's loader has no defaults when it reads a config.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {
        name: entry.target.detach().reshape(shape).to("cpu", torch.bfloat16).clone()
        for entry in moshi_layout(duplex, duplex.config)
        for name, shape in zip(entry.names, entry.shapes, strict=True)
        if entry.target is not None
    }
    weights["text_linear.weight"] *= _TEXT_LOGIT_SCALE
    save_file(weights, directory / "model.safetensors")
    for name in ("mimi.safetensors", "mimi_config.json", "tokenizer.model"):
        shutil.copyfile(data / name, directory / name)
    (directory / "config.json").write_text(json.dumps(MOSHI_JSON | raw | FILE_NAMES, indent=1) + "\n")
