"""A trained demo model as a checkpoint directory in the published layout, which `model/checkpoints/build.py` loads."""

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

# Callers' usual temperature suits a model that knows a language. One that knows some sentences should waver less
# between them, so its text logits leave the training twice as large.
_TEXT_CERTAINTY = 2


def write_checkpoint(directory: Path, duplex: Duplex, raw: dict[str, Any], data: Path) -> None:
    """Write all five files: the language model in bfloat16, the codec and the tokenizer as they lie in `data`.

    `raw` are the language model's arguments, as config.json says them: all are written, since Kyutai's loader has no
    defaults for who brings a config.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {
        name: entry.target.detach().reshape(shape).to("cpu", torch.bfloat16).clone()
        for entry in moshi_layout(duplex, duplex.config)
        for name, shape in zip(entry.names, entry.shapes, strict=True)
        if entry.target is not None
    }
    weights["text_linear.weight"] *= _TEXT_CERTAINTY
    save_file(weights, directory / "model.safetensors")
    for name in ("mimi.safetensors", "mimi_config.json", "tokenizer.model"):
        shutil.copyfile(data / name, directory / name)
    (directory / "config.json").write_text(json.dumps(MOSHI_JSON | raw | FILE_NAMES, indent=1) + "\n")
