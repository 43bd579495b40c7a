"""Published checkpoint files into our parameters: every key accounted for, a tensor at a time.

`load` walks a layout over a file, so that at most one tensor is held beside the model, and names whatever is missing,
unexpected or misshapen. Files that stack the per-step projections, and old Mimi names, are read through `_Source`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.errors import CheckpointNotFound, WeightsError
from model.layout import Entry

Progress = Callable[[int], object]  # called with the bytes read for each tensor


@dataclass(slots=True)
class _Source:
    """One safetensors file under canonical names: split projections and new Mimi names."""

    path: Path
    file: safe_open
    where: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # name → key, first row, rows (0: all)

    def shape(self, name: str) -> tuple[int, ...]:
        key, _, rows = self.where[name]
        shape = tuple(self.file.get_slice(key).get_shape())
        return (rows, *shape[1:]) if rows else shape

    def read(self, name: str) -> Tensor:
        key, first, rows = self.where[name]
        return self.file.get_slice(key)[first : first + rows] if rows else self.file.get_tensor(key)


def linears_in(path: Path) -> int:
    """How many codebooks a language model file can speak: its `linears.{k}.weight`."""
    with _open(path) as file:
        return sum(re.fullmatch(r"linears\.\d+\.weight", key) is not None for key in file.keys())  # noqa: SIM118


def load(path: Path, entries: Iterator[Entry], stacked: int, progress: Progress | None = None) -> None:
    """Fill the targets of `entries` from a safetensors file. Raises `WeightsError`, `CheckpointNotFound`.

    `stacked` is how many sets of weights a stacked depth projection holds.
    """
    with _open(path) as file:
        source = _Source(path, file)
        _canonical_names(source, stacked)
        unclaimed = set(source.where)
        missing = []
        for entry in entries:
            absent = [name for name in entry.names if name not in unclaimed]
            missing += absent
            unclaimed.difference_update(entry.names)
            if not absent:
                _check_shapes(source, entry)
                _place(source, entry, progress)
        if missing:
            raise WeightsError(f"{path.name} lacks {_list(missing)}.")
        if unclaimed:
            raise WeightsError(
                f"{path.name} holds tensors that its configuration has no place for: {_list(unclaimed)}."
            )


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError as error:
        raise CheckpointNotFound(f"There is no weights file {path}.") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointNotFound(
            f"The weights file {path} can't be read ({error}); was its download cut short?"
        ) from error


def _canonical_names(source: _Source, stacked: int) -> None:
    for key in source.file.keys():  # noqa: SIM118
        name = key
        for old, new in _OLD_NAMES.items():
            name = re.sub(old, new, name)
        match = re.fullmatch(r"(.*\.self_attn\.)(in|out)_proj(?:_weight|\.weight)", name)
        if match is None:
            source.where[name] = (key, 0, 0)
            continue
        count = stacked if name.startswith("depformer.") else 1
        total = source.file.get_slice(key).get_shape()[0]
        if total % count:
            raise WeightsError(f"{source.path.name}: {key} has {total} rows, which {count} steps can't share.")
        for i in range(count):
            rows = total // count
            source.where[f"{match[1]}{match[2]}_projs.{i}.weight"] = (key, i * rows, rows)


_OLD_NAMES = {
    r"\._codebook\.inited$": "._codebook._initialized",
    r"\._codebook\.cluster_size$": "._codebook.cluster_usage",
    r"\._codebook\.(embed_avg|embed_sum)$": "._codebook.embedding_sum",
}


def _check_shapes(source: _Source, entry: Entry) -> None:
    for name, expected in zip(entry.names, entry.shapes, strict=True):
        shape = source.shape(name)
        if shape != expected:
            raise WeightsError(
                f"{source.path.name}: {name} has shape {list(shape)}, its configuration says {list(expected)}."
            )


def _place(source: _Source, entry: Entry, progress: Progress | None) -> None:
    if entry.target is None:
        return
    parts = [source.read(name) for name in entry.names]
    tensor = entry.convert(*parts) if entry.convert else parts[0]
    entry.target.copy_(tensor.reshape(entry.target.shape))
    if progress:
        progress(sum(part.nbytes for part in parts))


def _list(names: Iterable[str], most: int = 5) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
