"""The families of checkpoints that can be loaded, and the one that a given checkpoint belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model.checkpoints.defaults import MOSHI_NAME
from model.checkpoints.family import Checkpoint, Family
from model.checkpoints.files import Files, in_directory
from model.checkpoints.pytorch import PyTorchFamily
from model.config import DuplexConfig
from model.errors import CheckpointNotFound, UnsupportedModel

# The first that matches is taken. Kyutai's PyTorch layout stays last: it also matches checkpoints without a config.
FAMILIES: tuple[Family, ...] = (PyTorchFamily(),)


def find(resolve: Callable[[str], Path]) -> Checkpoint:
    """Open the checkpoint whose files `resolve` gives, see `Files`.

    Raises `CheckpointNotFound`, `UnsupportedModel`, `WeightsError`.
    """
    files = Files(resolve)
    return family_of(files).open(files)


def config_at(path: Path) -> DuplexConfig:
    """The shape that a checkpoint directory or a config.json describes, whether its weights are there or not.

    Raises `UnsupportedModel`, `CheckpointNotFound`.
    """
    if not path.exists():
        raise CheckpointNotFound(f"There is no checkpoint directory and no config.json {path}.")
    directory = in_directory(path if path.is_dir() else path.parent)
    files = Files(lambda name: path if name == "config.json" and path.is_file() else directory(name))
    return family_of(files).config(files)


def family_of(files: Files) -> Family:
    """The family of a checkpoint. Raises `UnsupportedModel` if there is none."""
    for family in FAMILIES:
        if family.matches(files):
            return family
    raise UnsupportedModel(
        f"The checkpoint is {_layout(files)}, which can't be loaded. Take the edition for PyTorch, such as "
        "kyutai/moshiko-pytorch-bf16 or kyutai/moshiko-pytorch-q8."
    )


def _layout(files: Files) -> str:
    """What is known of a checkpoint that no family matches."""
    config = files.find_json("config.json") or {}
    if "audio_encoder_config" in config:
        return "in the layout of Transformers"
    name = config.get("moshi_name") or MOSHI_NAME
    path = files.find(name)
    if path is None:
        return "in an unknown layout"
    with path.open("rb") as file:
        if file.read(4) == b"GGUF":
            return f"a GGUF file, {name}"
    if any(key.startswith("depformer.slices.") for key in files.keys(name)):
        return f"named for MLX, {name}"
    return f"in an unknown layout, {name}"
