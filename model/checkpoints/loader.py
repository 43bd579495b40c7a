"""A checkpoint's tensors into our parameters: every name accounted for, a tensor at a time.

`load` walks a layout over a network's tensors, so that at most one of them is held beside the model, and names whatever
is missing, unexpected or of the wrong shape. A LoRA is fused into each tensor as it passes, before that is quantised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from model.checkpoints.family import Lora, Weights
from model.checkpoints.layout import Entry
from model.errors import WeightsError
from model.quantize import quantize

Progress = Callable[[int], object]  # called with the bytes read for each tensor


def load(weights: Weights, entries: Iterator[Entry], progress: Progress | None = None) -> None:
    """Fill the targets of `entries`. Raises `WeightsError`."""
    reader = _Reader(weights, progress)
    fusion = _Fusion(weights.lora, progress) if weights.lora else None
    for entry in entries:
        if not reader.claim(*entry.names):
            continue
        for name, shape in zip(entry.names, entry.shapes, strict=True):
            reader.check(name, shape)
        _place(reader, entry, fusion)
    reader.finish()
    if fusion:
        fusion.reader.finish()


class _Reader:
    """One network's tensors, and which of them were asked for."""

    def __init__(self, weights: Weights, progress: Progress | None):
        self.tensors, self._source, self._progress = weights.tensors, weights.source, progress
        self._unclaimed = set(weights.tensors)
        self._missing: list[str] = []

    def claim(self, *names: str) -> bool:
        """Note that these are wanted; False if one of them is not there."""
        absent = [name for name in names if name not in self._unclaimed]
        self._missing += absent
        self._unclaimed.difference_update(names)
        return not absent

    def check(self, name: str, expected: tuple[int, ...]) -> None:
        """Raise `WeightsError` for a tensor of another shape."""
        shape = self.tensors[name].shape
        if shape != expected:
            raise WeightsError(
                f"{self._source}: {name} has shape {list(shape)}, the configuration says {list(expected)}."
            )

    def read(self, name: str, device: torch.device) -> Tensor:
        """A tensor in full precision."""
        stored = self.tensors[name]
        tensor = stored.read(device)
        if self._progress:
            self._progress(stored.nbytes)
        return tensor

    def finish(self) -> None:
        """Raise `WeightsError` for tensors that are missing, and for those that the model has no place for."""
        if self._missing:
            raise WeightsError(f"{self._source} lacks {_list(self._missing)}.")
        if self._unclaimed:
            raise WeightsError(
                f"{self._source} holds tensors that the configuration has no place for: {_list(self._unclaimed)}."
            )


class _Fusion:
    """A LoRA's tensors, and how they are fused into a weight."""

    def __init__(self, lora: Lora, progress: Progress | None):
        self._lora = lora
        self.reader = _Reader(lora.weights, progress)

    def claim(self, name: str) -> bool:
        """Whether the LoRA changes the weight of this name."""
        parts = self._parts(name)
        return any(part in self.reader.tensors for part in parts) and self.reader.claim(*parts)

    def fuse(self, name: str, weight: Tensor) -> Tensor:
        """The changed weight, in float32."""
        (down, up), (rows, columns), rank = self._parts(name), weight.shape, self._lora.rank
        self.reader.check(down, (rank, columns))
        self.reader.check(up, (rows, rank))
        device = weight.device
        change = self.reader.read(up, device).float() @ self.reader.read(down, device).float()
        return weight.float().add(change, alpha=self._lora.scaling)

    @staticmethod
    def _parts(name: str) -> tuple[str, str]:
        stem = name.removesuffix("weight")
        return f"{stem}lora_A.weight", f"{stem}lora_B.weight"


def _place(reader: _Reader, entry: Entry, fusion: _Fusion | None) -> None:
    weight_name, target = entry.names[0], entry.target
    fuse = fusion.fuse if fusion and fusion.claim(weight_name) else None
    if target is None:
        return
    parts = [reader.read(name, target.device) for name in entry.names]
    tensor = entry.convert(*parts) if entry.convert else parts[0]
    if fuse:
        tensor = fuse(weight_name, tensor)
    if entry.scale is None:
        target.copy_(tensor.reshape(target.shape))
    else:
        bits, scale = quantize(tensor, target.dtype)
        target.copy_(bits)
        entry.scale.copy_(scale)


def _list(names: Iterable[str], most: int = 5) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
