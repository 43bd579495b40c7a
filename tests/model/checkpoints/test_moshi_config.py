"""Kyutai's JSON gives a configuration, or an error that names the unsupported entry."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from model.checkpoints.build import build
from model.checkpoints.defaults import MOSHI_JSON
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.moshi_config import duplex_config
from model.errors import UnsupportedModel, WeightsError
from model.modes.duplex import Duplex


def load(directory: Path) -> Duplex:
    return build(find(in_directory(directory)), torch.device("cpu"), torch.float32)[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "tts"),
        ("depformer_pos_emb", "sin"),
        ("cross_attention", True),
        ("conditioners", {"description": {"type": "lut"}}),
        ("dep_q", 0),
        ("delays", [0, 1]),
        ("depformer_weights_per_step_schedule", [0, 1]),
        ("dim", None),
        ("num_heads", 0),
        ("num_heads", 3),
        ("context", None),
        ("context", 0),
        ("existing_text_padding_id", None),
        ("existing_text_padding_id", 10**6),
    ],
)
def test_other_networks_are_refused(changed, key: str, value: object):
    with pytest.raises(UnsupportedModel):
        load(changed("config.json", lambda config: config.update({key: value})))


def test_an_unreadable_configuration_is_named(changed):
    directory = changed("config.json", lambda config: None)
    for text in ("[1]", "{", ""):
        (directory / "config.json").write_text(text)
        with pytest.raises(UnsupportedModel, match=r"config\.json"):
            load(directory)
    with pytest.raises(UnsupportedModel):
        load(changed("mimi_config.json", lambda mimi: mimi.update(frame_rate=0)))


def test_the_published_config_of_personaplex_gives_8_of_16_depth_steps():
    """Its config.json has only the model's type and version."""
    config = duplex_config({"model_type": "personaplex", "version": "7b-v1"}, None, stored_linears=16)
    assert (config.dep_q, config.user_q, config.depth.stored_codebooks) == (8, 8, 16)


def test_a_missing_config_gives_the_7b(babble_directory: Path, tmp_path: Path):
    """No config.json means Moshi 7B, under the published file names."""
    names = {"model": "model", "mimi": "tokenizer-e351c8d8-checkpoint125"}
    for ours, theirs in names.items():
        shutil.copy(babble_directory / f"{ours}.safetensors", tmp_path / f"{theirs}.safetensors")
    shutil.copy(babble_directory / "tokenizer.model", tmp_path / "tokenizer_spm_32k_3.model")
    checkpoint = find(in_directory(tmp_path))
    assert checkpoint.config == duplex_config(None, None)
    with pytest.raises(WeightsError, match=r"emb\.0\.weight has shape \[257, 128\].*\[2049, 4096\]"):
        build_on_meta(checkpoint)


def build_on_meta(checkpoint) -> Duplex:
    return build(checkpoint, torch.device("meta"), torch.bfloat16)[0]


def test_the_7b_has_the_published_size():
    """7.688 B parameters in the language model (as in the published file), counted on the meta device."""
    model = Duplex(duplex_config(dict(MOSHI_JSON), None))
    language = [*model.temporal.parameters(), *model.depth.parameters()]
    assert sum(p.numel() for p in language) == pytest.approx(7.688e9, rel=1e-3)
