"""A checkpoint family for tests: everything that a new family needs, in one file.

Its layout differs from Kyutai's in everything that may differ between families: a toy.json with its own keys, both
networks in the same shards, other tensor names, transposed linears, separate queries, keys and values, int8 with a
factor, and text pieces in a JSON list.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.checkpoints.family import Checkpoint, StoredTensor, Weights
from model.checkpoints.files import Files, open_safetensors
from model.config import DepthConfig, DuplexConfig, MimiConfig, QuantizerConfig, SeanetConfig, TransformerConfig

SHARDS = ("part-0.bin", "part-1.bin")
THIRDS = ("q", "k", "v")


class ToyFamily:
    """See `Family`."""

    def matches(self, files: Files) -> bool:
        return "toy" in (files.find_json("toy.json") or {})

    def config(self, files: Files) -> DuplexConfig:
        lm, codec = (files.json("toy.json")[part] for part in ("speaker", "ears"))
        return DuplexConfig(
            mimi=MimiConfig(
                seanet=SeanetConfig(**_with_tuples(codec["shape"])),
                transformer=TransformerConfig(**codec["attention"]),
                quantizer=QuantizerConfig(**codec["books"]),
                downsample=codec["stride"],
                codebooks=codec["used_books"],
            ),
            temporal=TransformerConfig(**lm["across"]),
            depth=DepthConfig(**_with_tuples(lm["down"])),
            **_with_tuples(lm["streams"]),
        )

    def open(self, files: Files) -> Checkpoint:
        raw = files.json("toy.json")
        networks: dict[str, dict[str, StoredTensor]] = {"speaker": {}, "ears": {}}
        for shard in SHARDS:
            for key in files.keys(shard):
                network, _, name = key.partition("/")
                if name.endswith(("/factor", "/k", "/v")):
                    continue  # read together with the tensor that it belongs to
                canonical, tensor = _tensor(files.path(shard), key, name.replace("/", "."))
                networks[network][canonical] = tensor
        return Checkpoint(
            self.config(files),
            Weights("toy", networks["speaker"]),
            Weights("toy", networks["ears"]),
            tuple(json.loads(files.path("words.json").read_text())),
            {"audio_temperature": raw["heat"]},
        )


def _tensor(shard: Path, key: str, name: str) -> tuple[str, StoredTensor]:
    file = open_safetensors(shard)
    shape = tuple(file.get_slice(key).get_shape())
    size = prod(shape)
    if name.endswith(".q"):
        stem = key.removesuffix("q")

        def read(device: torch.device) -> Tensor:
            return torch.cat([file.get_tensor(stem + third).T for third in THIRDS]).to(device)

        return f"{name.removesuffix('.q')}.weight", StoredTensor((3 * shape[1], shape[0]), 12 * size, read)
    if name.endswith(".turned"):

        def read(device: torch.device) -> Tensor:
            return file.get_tensor(key).T.to(device)

        return f"{name.removesuffix('.turned')}.weight", StoredTensor(shape[::-1], 4 * size, read)
    if name.endswith(".int8"):

        def read(device: torch.device) -> Tensor:
            return (file.get_tensor(key).float() * file.get_tensor(key.replace("int8", "factor"))).to(device)

        return f"{name.removesuffix('.int8')}.weight", StoredTensor(shape, size, read)
    return name, StoredTensor(shape, 4 * size, lambda device: file.get_tensor(key).to(device))


def _with_tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def convert(published: Path, toy: Path, config: DuplexConfig, pieces: list[str]) -> None:
    """Write a published checkpoint, with a name for every projection (not stacked), in the toy layout.

    The values of text_linear must be integers from -127 to 127, divided by 64.
    """
    toy.mkdir()
    mimi = asdict(config.mimi)
    streams = {key: value for key, value in asdict(config).items() if key not in ("mimi", "temporal", "depth")}
    ears = {"shape": mimi["seanet"], "attention": mimi["transformer"], "books": mimi["quantizer"]}
    ears |= {"stride": mimi["downsample"], "used_books": mimi["codebooks"]}
    speaker = {"across": asdict(config.temporal), "down": asdict(config.depth), "streams": streams}
    (toy / "toy.json").write_text(json.dumps({"toy": 1, "heat": 0.5, "speaker": speaker, "ears": ears}))
    (toy / "words.json").write_text(json.dumps(pieces))
    tensors: dict[str, Tensor] = {}
    for network, file in (("speaker", "model.safetensors"), ("ears", "mimi.safetensors")):
        for name, tensor in load_file(published / file).items():
            stem = f"{network}/{name.replace('.', '/')}".removesuffix("/weight")
            if ".in_projs." in name:
                tensors |= {f"{stem}/{third}": part.T for third, part in zip(THIRDS, tensor.chunk(3), strict=True)}
            elif name == "text_linear.weight":
                tensors |= {f"{stem}/int8": (64 * tensor).to(torch.int8), f"{stem}/factor": torch.tensor(1 / 64)}
            elif ".out_projs." in name:
                tensors[f"{stem}/turned"] = tensor.T
            else:
                tensors[f"{network}/{name.replace('.', '/')}"] = tensor
    keys = sorted(tensors, key=lambda key: key.rsplit("/", 1)[0])
    joined = [key for key in keys if key.endswith(("/q", "/k", "/v", "/int8", "/factor"))]  # read from one shard
    alone = [key for key in keys if key not in joined]
    for shard, part in zip(SHARDS, (joined + alone[::2], alone[1::2]), strict=True):
        save_file({key: tensors[key].contiguous() for key in part}, toy / shard)
