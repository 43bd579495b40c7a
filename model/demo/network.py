"""The demo's language model: its shape, initial weights and losses. The modules are those of the server."""

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

# Differences from the published defaults. `card` and `text_card` depend on the codec and the vocabulary.
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
_PAD_WEIGHT = 0.4  # of the text loss in frames without a token, which are most frames
_TEXT_WEIGHT = 2.0  # of the text loss; that of all codes together has 1
_SEMANTIC_WEIGHT = 10.0  # of the semantic codebook; each acoustic one has 1
_WORDS_WEIGHT = 1.0
_NO_WORD_WEIGHT = 0.2  # in frames in which no word of the caller ends, which are most frames
_DROPOUT = 0.1  # of the output of each block of the temporal transformer
_EMBEDDING_STD = 0.25  # a column is the sum of 17 embeddings


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean cross-entropies of the text, the semantic codebook, the acoustic ones and the caller's words, and `total`,
    the weighted sum to minimise. All are scalars."""

    total: Tensor
    text: Tensor
    semantic: Tensor
    acoustic: Tensor
    words: Tensor

    def figures(self) -> dict[str, float]:
        """The losses as Python numbers."""
        return {
            name: float(getattr(self, name).detach()) for name in ("total", "text", "semantic", "acoustic", "words")
        }


def make_network(config: DuplexConfig, device: torch.device, seed: int) -> Duplex:
    """A model to train, with random weights; its codec stays on the meta device."""
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
        _scale_residual_outputs(stack, layers)
    for layer in duplex.temporal.transformer.layers:
        layer.out_proj.register_forward_hook(_drop_out)
        layer.feedforward.register_forward_hook(_drop_out)
    return duplex


def make_word_head(duplex: Duplex, words: int, device: torch.device) -> nn.Linear:
    """A layer that predicts the caller's word from the temporal transformer's output; dropped after the training.

    It makes the model learn to hear every word. The answer alone gives one choice out of 70 for seconds of speech."""
    return nn.Linear(duplex.config.temporal.dim, 1 + words, device=device)


def losses(duplex: Duplex, word_head: nn.Linear, batch: TrainingBatch) -> Losses:
    """The losses of a batch: all of its columns in one pass, from a fresh state."""
    temporal, depth, config = duplex.temporal, duplex.depth, duplex.config
    state = temporal.make_state(len(batch.columns))
    hidden, logits = temporal(batch.columns, state, None)
    weights = torch.where(batch.text == config.text_pad, _PAD_WEIGHT, 1.0) * batch.text_counts
    text_losses = F.cross_entropy(logits.flatten(0, 1), batch.text.flatten(), reduction="none")
    text = (text_losses * weights.flatten()).sum() / weights.sum()
    word_weights = torch.where(batch.words == 0, _NO_WORD_WEIGHT, 1.0) * batch.text_counts
    word_losses = F.cross_entropy(word_head(hidden).flatten(0, 1), batch.words.flatten(), reduction="none")
    words = (word_losses * word_weights.flatten()).sum() / word_weights.sum()

    said = batch.audio[batch.audio_counts]  # [N, dep_q]
    heads: list[Tensor] = []

    def take_target(logits: Tensor, codebook: int) -> Tensor:
        """Record the loss of one codebook, and continue with the true code instead of a sample."""
        heads.append(F.cross_entropy(logits, said[:, codebook]))
        return said[:, codebook]

    depth.generate(batch.text[batch.audio_counts], hidden[batch.audio_counts], take_target)
    semantic, acoustic = heads[0], torch.stack(heads[1:]).mean()
    shares = _SEMANTIC_WEIGHT + config.dep_q - 1
    audio = (_SEMANTIC_WEIGHT * semantic + (config.dep_q - 1) * acoustic) / shares
    return Losses(_TEXT_WEIGHT * text + audio + _WORDS_WEIGHT * words, text, semantic, acoustic, words)


def make_optimisers(duplex: Duplex, word_head: nn.Linear) -> list[torch.optim.Optimizer]:
    """Muon (https://kellerjordan.github.io/posts/muon) for the matrices in the layers, which learns more than AdamW
    in as many steps, and AdamW for the rest, with weight decay only for matrices that are not embeddings."""
    named = [pair for part in (duplex.temporal, duplex.depth, word_head) for pair in part.named_parameters()]
    matrices = {name: parameter for name, parameter in named if parameter.dim() == 2 and "embedding" not in name}
    inner = [parameter for name, parameter in matrices.items() if "layers" in name]
    heads = [parameter for name, parameter in matrices.items() if "layers" not in name]
    others = [parameter for name, parameter in named if name not in matrices]
    groups = [{"params": heads, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(inner, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),  # so that both use the same rate
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True),
    ]


def _drop_out(module: nn.Module, _inputs: object, added: Tensor) -> Tensor:
    """Dropout as a forward hook, so that the server's modules need not have it."""
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
def _scale_residual_outputs(layers: list[Any], count: int) -> None:
    """Scale down the output of each block, so that the residual stream does not grow with the number of layers."""
    for layer in layers:
        for name, parameter in nn.Module.named_parameters(layer):
            if "out_proj" in name or "linear_out" in name:
                parameter.mul_(1 / math.sqrt(2 * count))
