"""The loader checks that every tensor of a file has a place, and its errors name the tensor or the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import write_checkpoint
from model.errors import CheckpointNotFound, ModelError, UnsupportedModel, WeightsError
from model.modes.duplex import Duplex
from model.quantize import quantize

CPU = torch.device("cpu")


def load(directory: Path) -> Duplex:
    return build(find(in_directory(directory)), CPU, torch.float32)[0]


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


def test_a_tensor_of_the_wrong_shape_is_named(changed):
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


def test_old_names_of_mimi_tensors_load(changed, babble: Duplex):
    def rename(tensors: dict) -> None:
        for key in list(tensors):
            old = key.replace("_codebook._initialized", "_codebook.inited")
            old = old.replace("cluster_usage", "cluster_size").replace("embedding_sum", "embed_avg")
            tensors[old] = tensors.pop(key)

    mimi = load(changed("mimi.safetensors", rename)).mimi
    assert torch.equal(mimi.quantizer.rest.codebooks, babble.mimi.quantizer.rest.codebooks)


def test_unused_codebooks_may_be_in_the_file(babble_directory: Path, tmp_path: Path):
    from model.checkpoints.random import small_mimi

    write_checkpoint(tmp_path, mimi=small_mimi(256, codebooks=32))
    assert len(load(tmp_path).mimi.quantizer.rest.codebooks) == 7


def test_a_truncated_file_is_reported(changed):
    directory = changed("config.json", lambda config: None)
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointNotFound, match="cut short"):
        load(directory)


NOT_LINEAR = re.compile(r"^(text_)?emb\.|^depformer_(text_)?emb\.[\d.]*weight$|alpha$")


def in_q8(tensors: dict) -> None:
    """Tensors as in `moshiko-pytorch-q8`: int8 rows, and the largest magnitude of each row."""
    for key in [key for key in tensors if not NOT_LINEAR.search(key)]:
        largest = tensors[key].float().abs().amax(1)
        tensors[key] = (tensors[key].float() * 127 / largest[:, None]).round().to(torch.int8)
        tensors[f"{key}_scb"] = largest


def test_a_q8_checkpoint_loads_as_it_is(changed, babble_directory: Path):
    """Its linears keep the file's integers, with and without `weight_dtype`."""
    raw = load_file(babble_directory / "model.safetensors")
    in_q8(raw)
    changed("model.safetensors", in_q8)
    directory = changed("config.json", lambda config: config.update(quantize=True), again=True)
    for weight_dtype in (None, torch.float8_e4m3fn):
        duplex = build(find(in_directory(directory)), CPU, torch.float32, weight_dtype=weight_dtype)[0]
        stacked = torch.cat([linear.weight for linear in duplex.depth.layers[1].in_proj])
        assert torch.equal(stacked, raw["depformer.layers.1.self_attn.in_proj_weight"])
        ours = dict(duplex.named_parameters())
        for name, key in {
            "temporal.text_head": "text_linear.weight",
            "temporal.transformer.layers.2.feedforward.linear_out": "transformer.layers.2.gating.linear_out.weight",
        }.items():
            assert torch.equal(ours[f"{name}.weight"], raw[key])
            assert torch.allclose(ours[f"{name}.scale"] * 127, raw[f"{key}_scb"], rtol=1e-6)
        inputs = torch.cat([raw[f"depformer_in.{k}.weight"] for k in range(8)])
        assert torch.equal(ours["depth.input.weight"], inputs)


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda tensors: tensors.pop("linears.3.weight_scb"), r"lacks linears\.3\.weight_scb"),
        (lambda tensors: tensors.pop("linears.3.weight"), r"lacks linears\.3\.weight\."),
        (
            lambda tensors: tensors.update({"linears.3.weight_scb": torch.ones(4)}),
            r"weight_scb has shape \[4\].*\[256\]",
        ),
        (
            lambda tensors: tensors.update({"linears.9.weight_scb": torch.ones(4)}),
            r"no place for: linears\.9\.weight_scb",
        ),
    ],
)
def test_an_incomplete_q8_checkpoint_is_named(changed, spoil: Callable[[dict], object], names: str):
    with pytest.raises(WeightsError, match=names):
        load(changed("model.safetensors", lambda tensors: (in_q8(tensors), spoil(tensors))))


LORA = {
    "transformer.layers.0.self_attn.in_proj": (384, 128),
    "transformer.layers.1.gating.linear_out": (128, 352),
    "depformer.layers.1.self_attn.out_projs.5": (64, 64),
    "depformer_in.2": (64, 128),
    "text_linear": (500, 128),
}


@pytest.fixture
def with_lora(changed) -> Callable[..., Path]:
    """A function that writes a LoRA of rank 4 beside a checkpoint, as moshi-finetune does."""

    def write(spoil: Callable[[dict], object] = lambda tensors: None, **config: object) -> Path:
        says = {"lora": True, "lora_name": "lora.safetensors", "lora_rank": 4, "lora_scaling": 3.0} | config
        directory = changed("config.json", lambda raw: raw.update(says))
        rng = torch.Generator().manual_seed(0)
        tensors = {}
        for name, (rows, columns) in LORA.items():
            tensors[f"{name}.lora_A.weight"] = torch.randn(4, columns, generator=rng)
            tensors[f"{name}.lora_B.weight"] = torch.randn(rows, 4, generator=rng)
        spoil(tensors)
        save_file(tensors, directory / "lora.safetensors")
        return directory

    return write


@pytest.mark.parametrize("weight_dtype", [None, torch.int8])
def test_a_lora_is_fused_and_then_quantised(with_lora, babble: Duplex, weight_dtype: torch.dtype | None):
    directory = with_lora()
    lora = load_file(directory / "lora.safetensors")
    duplex = build(find(in_directory(directory)), CPU, torch.float32, weight_dtype=weight_dtype)[0]
    ours, before = dict(duplex.named_parameters()), dict(babble.named_parameters())
    places = {
        "transformer.layers.0.self_attn.in_proj": "temporal.transformer.layers.0.in_proj",
        "transformer.layers.1.gating.linear_out": "temporal.transformer.layers.1.feedforward.linear_out",
        "depformer.layers.1.self_attn.out_projs.5": "depth.layers.1.out_proj.5",
        "text_linear": "temporal.text_head",
    }
    for name, place in places.items():
        expected = before[f"{place}.weight"] + 3.0 * lora[f"{name}.lora_B.weight"] @ lora[f"{name}.lora_A.weight"]
        if weight_dtype is None:
            assert torch.allclose(ours[f"{place}.weight"], expected, atol=1e-5)
        else:
            bits, scale = quantize(expected, weight_dtype)
            off = ours[f"{place}.weight"].int() - bits.int()
            assert off.abs().max() <= 1  # rounding differs where the last bit of a sum does
            assert torch.allclose(ours[f"{place}.scale"], scale, rtol=1e-5)
    if weight_dtype is None:
        untouched = "temporal.transformer.layers.2.in_proj.weight"
        assert torch.equal(ours[untouched], before[untouched])
        inputs = before["depth.input.weight"].clone()
        inputs[128:192] += 3.0 * lora["depformer_in.2.lora_B.weight"] @ lora["depformer_in.2.lora_A.weight"]
        assert torch.allclose(ours["depth.input.weight"], inputs, atol=1e-5)


def test_a_lora_that_does_not_fit_is_named(with_lora):
    with pytest.raises(WeightsError, match=r"lora\.safetensors lacks text_linear\.lora_B\.weight"):
        load(with_lora(lambda tensors: tensors.pop("text_linear.lora_B.weight")))
    with pytest.raises(WeightsError, match=r"lora\.safetensors holds.*no place for: extra\.lora_A\.weight"):
        load(with_lora(lambda tensors: tensors.update({"extra.lora_A.weight": torch.ones(4, 4)})))
    with pytest.raises(WeightsError, match=r"lora_A\.weight has shape \[4, 128\].*\[8, 128\]"):
        load(with_lora(lora_rank=8))
    with pytest.raises(CheckpointNotFound, match=r"no file other\.safetensors"):
        load(with_lora(lora_name="other.safetensors"))
    with pytest.raises(UnsupportedModel, match="lora_name"):
        load(with_lora(lora_name=None))
    with pytest.raises(UnsupportedModel, match="lora_scaling = None"):
        load(with_lora(lora_scaling=None))


def test_a_missing_file_is_named(changed, tmp_path: Path):
    with pytest.raises(CheckpointNotFound, match="no checkpoint directory"):
        in_directory(tmp_path / "nowhere")
    with pytest.raises(CheckpointNotFound, match=r"no file other\.safetensors"):
        load(changed("config.json", lambda config: config.update(moshi_name="other.safetensors")))
    with pytest.raises(ModelError):
        load(changed("config.json", lambda config: config.update(tokenizer_name="config.json")))
