"""The seam for checkpoint families: what any layout of checkpoint files must provide.

A family is one module with one class, and one line in `families.py`. It reads a checkpoint's files and gives

- the model's shape, a config of `model/config.py`, which knows no family;
- the tensors of the language model and of the codec under canonical names, those of `layout.py`. A tensor is read only
  when the loader reaches it. A family may rename, slice, join and permute, and returns full precision: tensors stored
  in fewer bits are dequantised as they are read;
- the text pieces, whatever kind of tokenizer file they come from;
- the sampling defaults that the checkpoint's authors recommend.

Where the files are, and in how many shards, only the family knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.checkpoints.files import Files
from model.config import DuplexConfig


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a checkpoint that is not read yet."""

    shape: tuple[int, ...]
    nbytes: int  # as it is stored
    read: Callable[[torch.device], Tensor]  # to a device, in full precision


@dataclass(frozen=True, slots=True)
class Weights:
    """One network's tensors."""

    source: str  # the file, or whatever else an error message should name
    tensors: Mapping[str, StoredTensor]  # by canonical name
    linear_dtype: torch.dtype | None = None  # int8: linears are stored so, row by row, and are kept so bit for bit
    lora: Lora | None = None


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank changes to linear layers (arXiv:2106.09685): `W + scaling · B @ A`, A [rank, in], B [out, rank].

    The tensors of `X.weight` are `X.lora_A.weight` and `X.lora_B.weight`.
    """

    weights: Weights
    rank: int
    scaling: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of any family: all that is needed to build its model, with tensors not read yet."""

    config: DuplexConfig
    language_model: Weights
    codec: Weights
    pieces: tuple[str | bytes, ...]  # what each text token shows, see `Tokenizer`
    sampling: Mapping[str, object]  # recommended: text_temperature, text_topk, audio_…; values are not checked

    @property
    def nbytes(self) -> int:
        """How many bytes are read to build the model."""
        networks = [self.language_model, self.codec]
        networks += [self.language_model.lora.weights] if self.language_model.lora else []
        return sum(tensor.nbytes for network in networks for tensor in network.tensors.values())


class Family(Protocol):
    """One layout of checkpoint files."""

    def matches(self, files: Files) -> bool:
        """Whether these files are of this family.

        Decide by the content of config.json and the tensors' names, not by file names, which anybody may choose. Ask
        for small files first: each is downloaded when it is asked for. A config without weights should match too.
        """
        ...

    def config(self, files: Files) -> DuplexConfig:
        """The model's shape; the weights need not be there. Raises `UnsupportedModel`, `CheckpointNotFound`."""
        ...

    def open(self, files: Files) -> Checkpoint:
        """Everything, checked as far as possible without reading tensors.

        Raises `UnsupportedModel`, `CheckpointNotFound`, `WeightsError`.
        """
        ...
