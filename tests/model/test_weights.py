"""Every tensor is accounted for, and a file that is not right says so by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import build, find, in_directory
from model.config import duplex_config
from model.duplex import Duplex
from model.errors import CheckpointNotFound, ModelError, UnsupportedModel, WeightsError
from model.published import MOSHI_JSON
from model.random_checkpoint import write_checkpoint

CPU = torch.device("cpu")


def load(directory: Path) -> Duplex:
    return build(find(in_directory(directory)), CPU, torch.float32)[0]


@pytest.fixture
def changed(babble_directory: Path, tmp_path: Path):
    """A copy of the small checkpoint with something done to one of its files."""

    def change(name: str, edit: Callable[[dict], None]) -> Path:
        shutil.copytree(babble_directory, tmp_path, dirs_exist_ok=True)
        path = tmp_path / name
        if name.endswith(".json"):
            content = json.loads(path.read_text())
            edit(content)
            path.write_text(json.dumps(content))
        else:
            tensors = load_file(path)
            edit(tensors)
            save_file(tensors, path)
        return tmp_path

    return change


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model.safetensors", "emb.3.weight"),
        ("model.safetensors", "depformer.layers.1.self_attn.in_proj_weight"),
        ("model.safetensors", "out_norm.alpha"),
        ("mimi.safetensors", "quantizer.rvq_rest.vq.layers.2._codebook.cluster_usage"),
        ("mimi.safetensors", "decoder.model.2.convtr.convtr.bias"),
    ],
)
def test_a_missing_tensor_is_named(changed, name: str, key: str):
    with pytest.raises(WeightsError, match="lacks") as error:
        load(changed(name, lambda tensors: tensors.pop(key)))
    stem = key.removesuffix("in_proj_weight")
    assert stem in str(error.value)


def test_an_unexpected_tensor_is_named(changed):
    with pytest.raises(WeightsError, match=r"no place for.*extra_heads\.0\.weight"):
        load(changed("model.safetensors", lambda tensors: tensors.update({"extra_heads.0.weight": torch.ones(2)})))


def test_a_misshapen_tensor_is_named(changed):
    def widen(tensors: dict) -> None:
        tensors["linears.2.weight"] = torch.zeros(300, 64)

    with pytest.raises(WeightsError, match=r"linears\.2\.weight has shape \[300, 64\].*\[256, 64\]"):
        load(changed("model.safetensors", widen))


def test_rows_that_do_not_divide_are_named(changed):
    def cut(tensors: dict) -> None:
        key = "depformer.layers.0.self_attn.in_proj_weight"
        tensors[key] = tensors[key][:-3].contiguous()

    with pytest.raises(WeightsError, match=r"depformer\.layers\.0\.self_attn\.in_proj_weight"):
        load(changed("model.safetensors", cut))


def test_old_mimi_names(changed, babble: Duplex):
    def rename(tensors: dict) -> None:
        for key in list(tensors):
            old = key.replace("_codebook._initialized", "_codebook.inited")
            old = old.replace("cluster_usage", "cluster_size").replace("embedding_sum", "embed_avg")
            tensors[old] = tensors.pop(key)

    mimi = load(changed("mimi.safetensors", rename)).mimi
    assert torch.equal(mimi.quantizer.rest.codebooks, babble.mimi.quantizer.rest.codebooks)


def test_codebooks_that_are_not_used_may_lie_in_the_file(babble_directory: Path, tmp_path: Path):
    from model.random_checkpoint import small_mimi

    write_checkpoint(tmp_path, mimi=small_mimi(256, codebooks=32))
    assert len(load(tmp_path).mimi.quantizer.rest.codebooks) == 7


def test_a_file_cut_short(changed):
    directory = changed("config.json", lambda config: None)
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointNotFound, match="cut short"):
        load(directory)


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


def test_what_is_no_configuration(changed):
    directory = changed("config.json", lambda config: None)
    for text in ("[1]", "{", ""):
        (directory / "config.json").write_text(text)
        with pytest.raises(UnsupportedModel, match=r"config\.json"):
            load(directory)
    with pytest.raises(UnsupportedModel):
        load(changed("mimi_config.json", lambda mimi: mimi.update(frame_rate=0)))


def test_personaplex_as_it_is_published():
    """Its config.json names nothing but itself."""
    config = duplex_config({"model_type": "personaplex", "version": "7b-v1"}, None, stored_linears=16)
    assert (config.dep_q, config.user_q, config.depth.stored_codebooks) == (8, 8, 16)


def test_no_such_file(changed, tmp_path: Path):
    with pytest.raises(CheckpointNotFound, match="no checkpoint directory"):
        in_directory(tmp_path / "nowhere")
    with pytest.raises(CheckpointNotFound, match=r"no file other\.safetensors"):
        load(changed("config.json", lambda config: config.update(moshi_name="other.safetensors")))
    with pytest.raises(ModelError):
        load(changed("config.json", lambda config: config.update(tokenizer_name="config.json")))


def test_without_a_config_it_is_the_7b(babble_directory: Path, tmp_path: Path):
    """No config.json means Moshi 7B, under the published file names."""
    names = {"model": "model", "mimi": "tokenizer-e351c8d8-checkpoint125"}
    for ours, theirs in names.items():
        shutil.copy(babble_directory / f"{ours}.safetensors", tmp_path / f"{theirs}.safetensors")
    shutil.copy(babble_directory / "tokenizer.model", tmp_path / "tokenizer_spm_32k_3.model")
    checkpoint = find(in_directory(tmp_path))
    assert checkpoint.raw is None
    with pytest.raises(WeightsError, match=r"emb\.0\.weight has shape \[257, 128\].*\[2049, 4096\]"):
        build_on_meta(checkpoint)


def build_on_meta(checkpoint) -> Duplex:
    return build(checkpoint, torch.device("meta"), torch.bfloat16)[0]


def test_the_7b_has_the_published_size():
    """7.688 B parameters in the language model (facts of the published file), counted on no memory at all."""
    model = Duplex(duplex_config(dict(MOSHI_JSON), None))
    language = [*model.temporal.parameters(), *model.depth.parameters()]
    assert sum(p.numel() for p in language) == pytest.approx(7.688e9, rel=1e-3)
