"""The demo's language model: its shape, initial weights and losses. The modules are those that serve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DuplexConfig
from model.demo.language_batches import TrainingBatch
from model.modes.duplex import Duplex

# Over the published defaults; `card` and `text_card` come with the codec and the vocabulary.
LANGUAGE: dict[str, Any] = {
    "dim": 192,
    "num_heads": 6,
    "num_layers": 6,
    "hidden_scale": 4,
    "context": 250,  # 20 s
    "depformer_dim": 96,
    "depformer_num_heads": 3,
    "depformer_num_layers": 2,
    "depformer_dim_feedforward": 4 * 96,
}
_PAD_WEIGHT = 0.4  # of the text loss where nothing is said, which is in most frames
_TEXT_WEIGHT = 2.0  # against 1 for all codes
_SEMANTIC_WEIGHT = 10.0  # against 1 for each acoustic codebook
_WORDS_WEIGHT = 1.0
_NO_WORD_WEIGHT = 0.2  # in most frames no word of the caller's ends
_DROPOUT = 0.1  # of what each layer of the temporal transformer adds
_EMBEDDING_STD = 0.25  # a column is the sum of 17


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean cross-entropies, scalars: of text, of the semantic codebook, of the acoustic ones, of the caller's words,
    and what is minimised."""

    total: Tensor
    text: Tensor
    semantic: Tensor
    acoustic: Tensor
    words: Tensor

    def figures(self) -> dict[str, float]:
        """As numbers to show."""
        return {
            name: float(getattr(self, name).detach()) for name in ("total", "text", "semantic", "acoustic", "words")
        }


def make_network(config: DuplexConfig, device: torch.device, seed: int) -> Duplex:
    """A model to train; its codec stays on the meta device."""
    torch.manual_seed(seed)
    duplex = Duplex(config)
    for part in (duplex.temporal, duplex.depth):
        part.to_empty(device=device).requires_grad_(True)
        for name, parameter in part.named_parameters():
            _initialise(name, parameter)
    for stack, layers in (
        (duplex.temporal.transformer.layers, config.temporal.layers),
        (duplex.depth.layers, config.depth.layers),
    ):
        _calm(stack, layers)
    for layer in duplex.temporal.transformer.layers:
        layer.out_proj.register_forward_hook(_forget)
        layer.feedforward.register_forward_hook(_forget)
    return duplex


def make_listener(duplex: Duplex, words: int, device: torch.device) -> nn.Linear:
    """Predicts the caller's word from the temporal transformer's output; dropped after the training.

    An answer alone teaches little about hearing: one choice among 70 in seconds of speech. Every word does."""
    return nn.Linear(duplex.config.temporal.dim, 1 + words, device=device)


def losses(duplex: Duplex, listener: nn.Linear, batch: TrainingBatch) -> Losses:
    """The losses of a batch, whose columns are taken at once, from a fresh state."""
    temporal, depth, config = duplex.temporal, duplex.depth, duplex.config
    state = temporal.make_state(len(batch.columns))
    hidden, logits = temporal(batch.columns, state, None)
    weights = torch.where(batch.text == config.text_pad, _PAD_WEIGHT, 1.0) * batch.text_counts
    surprise = F.cross_entropy(logits.flatten(0, 1), batch.text.flatten(), reduction="none")
    text = (surprise * weights.flatten()).sum() / weights.sum()
    heard = torch.where(batch.words == 0, _NO_WORD_WEIGHT, 1.0) * batch.text_counts
    missed = F.cross_entropy(listener(hidden).flatten(0, 1), batch.words.flatten(), reduction="none")
    words = (missed * heard.flatten()).sum() / heard.sum()

    said = batch.audio[batch.audio_counts]  # [N, dep_q]
    heads: list[Tensor] = []

    def teach(logits: Tensor, codebook: int) -> Tensor:
        heads.append(F.cross_entropy(logits, said[:, codebook]))
        return said[:, codebook]

    depth.generate(batch.text[batch.audio_counts], hidden[batch.audio_counts], teach)
    semantic, acoustic = heads[0], torch.stack(heads[1:]).mean()
    shares = _SEMANTIC_WEIGHT + config.dep_q - 1
    audio = (_SEMANTIC_WEIGHT * semantic + (config.dep_q - 1) * acoustic) / shares
    return Losses(_TEXT_WEIGHT * text + audio + _WORDS_WEIGHT * words, text, semantic, acoustic, words)


def make_optimisers(duplex: Duplex, listener: nn.Linear) -> list[torch.optim.Optimizer]:
    """Muon (https://kellerjordan.github.io/posts/muon) for the layers' matrices: in as many steps it learns visibly
    more than AdamW, which has the rest. Of that, only what multiplies is pulled to zero."""
    named = [pair for part in (duplex.temporal, duplex.depth, listener) for pair in part.named_parameters()]
    matrices = {name: parameter for name, parameter in named if parameter.dim() == 2 and "embedding" not in name}
    inner = [parameter for name, parameter in matrices.items() if "layers" in name]
    heads = [parameter for name, parameter in matrices.items() if "layers" not in name]
    others = [parameter for name, parameter in named if name not in matrices]
    groups = [{"params": heads, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(inner, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),  # so that both share their rate
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True),
    ]


def _forget(module: nn.Module, _inputs: object, added: Tensor) -> Tensor:
    """Drop-out as a hook, so that the modules that serve know nothing of it."""
    return F.dropout(added, _DROPOUT, module.training)


@torch.no_grad()
def _initialise(name: str, parameter: Tensor) -> None:
    if parameter.dim() == 1:
        parameter.fill_(1.0)  # a norm's alpha
    elif "embedding" in name:
        parameter.normal_(0, _EMBEDDING_STD)
    else:
        parameter.normal_(0, 1 / math.sqrt(parameter.shape[1]))


@torch.no_grad()
def _calm(layers: list[Any], count: int) -> None:
    """Scale what each layer adds, so that depth does not make signals grow."""
    for layer in layers:
        for name, parameter in nn.Module.named_parameters(layer):
            if "out_proj" in name or "linear_out" in name:
                parameter.mul_(1 / math.sqrt(2 * count))
