"""Published checkpoint files into our parameters: every key accounted for, a tensor at a time.

`load` walks a layout over a file, so that at most one tensor is held beside the model, and names whatever is missing,
unexpected or misshapen. Files that stack the per-step projections, old Mimi names and the 8 bits of a q8 checkpoint
are read through `_Source`. A LoRA is fused into each tensor as it passes, before that is quantised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.checkpoints.layout import Entry
from model.errors import CheckpointNotFound, UnsupportedModel, WeightsError
from model.quantize import dequantize, quantize

Progress = Callable[[int], object]  # called with the bytes read for each tensor


@dataclass(frozen=True, slots=True)
class Lora:
    """A file of low-rank changes to linear layers (arXiv:2106.09685): `W + scaling · B @ A`, A [rank, in]."""

    path: Path
    rank: int
    scaling: float


def linears_in(path: Path) -> int:
    """How many codebooks a language model file can speak: its `linears.{k}.weight`."""
    with _open(path) as file:
        return sum(re.fullmatch(r"linears\.\d+\.weight", key) is not None for key in file.keys())  # noqa: SIM118


def is_q8(path: Path) -> bool:
    """Whether a language model file holds its linear layers in 8 bits, with a scale for each row."""
    with _open(path) as file:
        return any(key.endswith("weight_scb") for key in file.keys())  # noqa: SIM118


def load(
    path: Path, entries: Iterator[Entry], stacked: int, progress: Progress | None = None, lora: Lora | None = None
) -> None:
    """Fill the targets of `entries` from a safetensors file. Raises `WeightsError`, `CheckpointNotFound`.

    `stacked` is how many sets of weights a stacked depth projection holds.
    """
    with _open(path) as file, _open(lora.path) if lora else nullcontext() as lora_file:
        source = _Source(path, file, stacked, progress)
        change = _Change(_Source(lora.path, lora_file, stacked, progress), lora) if lora and lora_file else None
        for entry in entries:
            if not source.claim(*entry.names):
                continue
            for name, shape in zip(entry.names, entry.shapes, strict=True):
                source.check(name, shape)
            _place(source, entry, change)
        source.finish()
        if change:
            change.source.finish()


@dataclass(slots=True)
class _Source:
    """One safetensors file under canonical names: split projections and new Mimi names. Knows what was asked for."""

    path: Path
    file: safe_open
    stacked: int
    progress: Progress | None
    where: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # name → key, first row, rows (0: all)
    unclaimed: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for key in self.file.keys():  # noqa: SIM118
            self._name(key)
        self.unclaimed.update(self.where)

    def claim(self, *names: str) -> bool:
        """Take note that these are wanted; False if one is not there."""
        absent = [name for name in names if name not in self.unclaimed]
        self.missing += absent
        for name in names:
            self.unclaimed -= {name, f"{name}_scb"}
        return not absent

    def finish(self) -> None:
        """Raise `WeightsError` for what is missing, and for what nobody asked for."""
        if self.missing:
            raise WeightsError(f"{self.path.name} lacks {_list(self.missing)}.")
        if self.unclaimed:
            raise WeightsError(
                f"{self.path.name} holds tensors that its configuration has no place for: {_list(self.unclaimed)}."
            )

    def check(self, name: str, expected: tuple[int, ...]) -> None:
        """Raise `WeightsError` for a tensor of another shape."""
        key, _, rows = self.where[name]
        shape = tuple(self.file.get_slice(key).get_shape())
        shape = (rows, *shape[1:]) if rows else shape
        if shape != expected:
            raise WeightsError(
                f"{self.path.name}: {name} has shape {list(shape)}, its configuration says {list(expected)}."
            )

    def read(self, name: str, device: torch.device) -> Tensor:
        """A tensor in full precision."""
        tensor = self._stored(name).to(device)
        if tensor.dtype != torch.int8:
            return tensor
        scale = f"{name}_scb"  # row-wise largest magnitudes
        if scale not in self.where:
            raise WeightsError(f"{self.path.name} lacks {scale}.")
        self.check(scale, tensor.shape[:1])
        return dequantize(tensor, self._stored(scale).to(device).float() / 127, torch.float32)

    def _stored(self, name: str) -> Tensor:
        key, first, rows = self.where[name]
        tensor = self.file.get_slice(key)[first : first + rows] if rows else self.file.get_tensor(key)
        if self.progress:
            self.progress(tensor.nbytes)
        return tensor

    def _name(self, key: str) -> None:
        name = key
        for old, new in _OLD_NAMES.items():
            name = re.sub(old, new, name)
        match = re.fullmatch(r"(.*\.self_attn\.)(in|out)_proj[._](weight|weight_scb|lora_[AB]\.weight)", name)
        if match is None:
            self.where[name] = (key, 0, 0)
            return
        count = self.stacked if name.startswith("depformer.") else 1
        total = self.file.get_slice(key).get_shape()[0]
        if total % count:
            raise WeightsError(f"{self.path.name}: {key} has {total} rows, which {count} steps can't share.")
        for i in range(count):
            rows = total // count
            self.where[f"{match[1]}{match[2]}_projs.{i}.{match[3]}"] = (key, i * rows, rows)


@dataclass(frozen=True, slots=True)
class _Change:
    """A LoRA's file, and how it is applied."""

    source: _Source
    lora: Lora

    def claim(self, name: str) -> bool:
        """Whether there is a change to the weight of this name."""
        parts = self._parts(name)
        return any(part in self.source.where for part in parts) and self.source.claim(*parts)

    def fuse(self, name: str, weight: Tensor) -> Tensor:
        """The changed weight, in float32."""
        (down, up), (rows, columns), rank = self._parts(name), weight.shape, self.lora.rank
        self.source.check(down, (rank, columns))
        self.source.check(up, (rows, rank))
        device = weight.device
        change = self.source.read(up, device).float() @ self.source.read(down, device).float()
        return weight.float().add(change, alpha=self.lora.scaling)

    @staticmethod
    def _parts(name: str) -> tuple[str, str]:
        stem = name.removesuffix("weight")
        return f"{stem}lora_A.weight", f"{stem}lora_B.weight"


def _place(source: _Source, entry: Entry, change: _Change | None) -> None:
    weight_name, target = entry.names[0], entry.target
    fuse = change.fuse if change and change.claim(weight_name) else None
    if target is None:
        return
    parts = [source.read(name, target.device) for name in entry.names]
    tensor = entry.convert(*parts) if entry.convert else parts[0]
    if fuse:
        tensor = fuse(weight_name, tensor)
    if entry.scale is None:
        target.copy_(tensor.reshape(target.shape))
    else:
        bits, scale = quantize(tensor, target.dtype)
        target.copy_(bits)
        entry.scale.copy_(scale)


def _open(path: Path) -> safe_open:
    if path.suffix == ".gguf":
        raise UnsupportedModel(f"{path.name} is a GGUF file, made for Candle; {_TAKE_INSTEAD}")
    try:
        file = safe_open(path, framework="pt")
    except FileNotFoundError as error:
        raise CheckpointNotFound(f"There is no weights file {path}.") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointNotFound(
            f"The weights file {path} can't be read ({error}); was its download cut short?"
        ) from error
    if any(key.startswith("depformer.slices.") for key in file.keys()):  # noqa: SIM118
        raise UnsupportedModel(f"{path.name} is named for MLX; {_TAKE_INSTEAD}")
    return file


_TAKE_INSTEAD = "take the edition for PyTorch, such as kyutai/moshiko-pytorch-bf16 or kyutai/moshiko-pytorch-q8."
_OLD_NAMES = {
    r"\._codebook\.inited$": "._codebook._initialized",
    r"\._codebook\.cluster_size$": "._codebook.cluster_usage",
    r"\._codebook\.(embed_avg|embed_sum)$": "._codebook.embedding_sum",
}


def _list(names: Iterable[str], most: int = 5) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
