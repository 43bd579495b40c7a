"""Kyutai's JSON into shapes: config.json of the PyTorch checkpoints, and the JSON of Mimi that it may name.

What the JSON leaves out is as in the published Moshi 7B (Moshi, arXiv:2410.00037, and the `moshi` package's
`loaders.py`), so that a checkpoint without config.json is Moshi 7B. Knows no files and no tensors.
"""

from __future__ import annotations

import logging
from typing import Any

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from model.checkpoints.defaults import MIMI_JSON, MOSHI_JSON
from model.config import (
    DepthConfig,
    DuplexConfig,
    MimiConfig,
    QuantizerConfig,
    SeanetConfig,
    TransformerConfig,
    require,
)
from model.errors import UnsupportedModel

logger = logging.getLogger(__name__)

_PERSONAPLEX_CODEBOOKS = 16

# Keys that say nothing about the network's shape.
_ABOUT = frozenset(
    "moshi_name mimi_name mimi_config_name tokenizer_name lm_gen_config tts_config stt_config model_id text_card_out "
    "depformer_context depformer_max_period depformer_causal gradient_checkpointing fuser quantize "
    "lora lora_name lora_rank lora_scaling version".split()
)
# Keys that would call for another network, with the values that are supported.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "norm_emb": (False,),
    "bias_proj": (False,),
    "demux_second_stream": (False,),
    "demux_second_text_stream": (False,),
    "cross_attention": (False,),
    "extra_heads_num_heads": (0,),
    "kv_repeat": (1,),
    "depformer_kv_repeat": (1,),
    "positional_embedding": ("rope",),
    "depformer_weights_per_step": (True,),
    "depformer_pos_emb": ("none",),
    "depformer_norm": (None,),
    "gating": ("silu",),
    "depformer_gating": ("silu",),
    "layer_scale": (None,),
    "depformer_layer_scale": (None,),
    "norm": ("rms_norm_f32", "rms_norm"),
    "causal": (True,),
    "conditioners": ({}, None),
    "model_type": ("moshi", "personaplex", None),
}


def mimi_config(raw: dict[str, Any], codebooks: int) -> MimiConfig:
    """Read a `mimi_config_name` JSON. Raises `UnsupportedModel` for a codec of another rate or kind."""
    seanet, quantizer = raw["seanet"], raw["quantizer"]
    transformer = MIMI_JSON["transformer"] | raw["transformer"]
    shape = SeanetConfig(
        dimension=seanet["dimension"],
        filters=seanet["n_filters"],
        residual_layers=seanet.get("n_residual_layers", 1),
        ratios=tuple(seanet["ratios"]),
        kernel=seanet.get("kernel_size", 7),
        last_kernel=seanet.get("last_kernel_size", 3),
        residual_kernel=seanet.get("residual_kernel_size", 3),
        dilation_base=seanet.get("dilation_base", 2),
        compress=seanet.get("compress", 2),
    )
    rate, channels, frame_rate = raw["sample_rate"], raw["channels"], raw["frame_rate"]
    require(rate == SAMPLE_RATE_HZ and channels == 1, f"a codec of {rate} Hz and {channels} channels")
    require(frame_rate * FRAME_SAMPLES == rate, f"a codec of {frame_rate} frames a second")
    require(FRAME_SAMPLES % shape.hop_samples == 0, f"a codec with a hop of {shape.hop_samples} samples")
    require(seanet.get("activation", "ELU") == "ELU", f"activation {seanet.get('activation')}")
    require(seanet.get("true_skip", True), "convolutional skips in SEANet")
    require(seanet.get("pad_mode", "constant") == "constant", f"pad_mode {seanet.get('pad_mode')} in SEANet")
    require(transformer["d_model"] == shape.dimension, "a Mimi transformer of another width than SEANet")
    require(transformer["gating"] == "none", f"gating {transformer['gating']} in Mimi's transformer")
    require(transformer["norm"] == "layer_norm", f"norm {transformer['norm']} in Mimi's transformer")
    require(codebooks <= quantizer["n_q"], f"{codebooks} codebooks where Mimi holds {quantizer['n_q']}")
    return MimiConfig(
        seanet=shape,
        transformer=TransformerConfig(
            dim=transformer["d_model"],
            heads=transformer["num_heads"],
            layers=transformer["num_layers"],
            context=transformer["context"],
            feedforward=transformer["dim_feedforward"],
            norm="layer_norm",
            gated=False,
            layer_scale=transformer["layer_scale"] is not None,
            max_period=transformer["max_period"],
        ),
        quantizer=QuantizerConfig(quantizer["dimension"], quantizer["n_q"], quantizer["bins"]),
        downsample=FRAME_SAMPLES // shape.hop_samples,
        codebooks=codebooks,
    )


def duplex_config(
    raw: dict[str, Any] | None, mimi_raw: dict[str, Any] | None, *, stored_linears: int | None = None
) -> DuplexConfig:
    """Read a checkpoint's config.json (None: Moshi 7B) and its Mimi's (None: the published Mimi).

    `stored_linears` is how many `linears.{k}.weight` the weights file holds. One for each of 16 audio streams is
    PersonaPlex: the second half of its steps predicts the user's audio, which arrives anyway, so they are not run.
    """
    lm = MOSHI_JSON | (raw or {})
    _refuse_other_networks(lm)
    n_q, dep_q = lm["n_q"], lm["dep_q"]
    stored = dep_q
    if stored_linears == n_q == _PERSONAPLEX_CODEBOOKS:
        stored, dep_q = n_q, n_q // 2
    require(dep_q >= 1, "a model without audio output (dep_q 0)")
    require(len(lm["delays"]) == n_q + 1, f"{len(lm['delays'])} delays for {n_q} audio streams and one of text")
    require(0 <= lm["existing_text_padding_id"] < lm["text_card"], f"PAD {lm['existing_text_padding_id']}")
    codebooks = max(dep_q, n_q - dep_q)
    return DuplexConfig(
        mimi=mimi_config(mimi_raw or MIMI_JSON, codebooks),
        temporal=TransformerConfig(
            dim=lm["dim"],
            heads=lm["num_heads"],
            layers=lm["num_layers"],
            context=lm["context"],
            feedforward=_gated_width(lm["dim"], int(lm["hidden_scale"] * lm["dim"])),
            norm=lm["norm"],
            gated=True,
            layer_scale=False,
            max_period=lm["max_period"],
        ),
        depth=_depth_config(lm, stored),
        n_q=n_q,
        dep_q=dep_q,
        audio_vocab=lm["card"],
        text_vocab=lm["text_card"],
        text_vocab_out=lm.get("text_card_out") or lm["text_card"],
        delays=tuple(lm["delays"]),
        text_pad=lm["existing_text_padding_id"],
        text_end_pad=lm["existing_text_end_padding_id"],
    )


def _depth_config(lm: dict[str, Any], stored: int) -> DepthConfig:
    schedule = lm["depformer_weights_per_step_schedule"] or list(range(stored))
    require(len(schedule) == stored, f"a depth schedule of {len(schedule)} steps for {stored} codebooks")
    input_of = schedule if lm["depformer_multi_linear"] else [0] * stored
    feedforward = lm["depformer_dim_feedforward"] or int(lm["hidden_scale"] * lm["depformer_dim"])
    sets = max(schedule) + 1
    widths = feedforward if isinstance(feedforward, list) else [feedforward] * sets
    require(len(widths) == sets, f"{len(widths)} depth feed-forward widths for {sets} sets of weights")
    return DepthConfig(
        dim=lm["depformer_dim"],
        heads=lm["depformer_num_heads"],
        layers=lm["depformer_num_layers"],
        feedforward=tuple(_gated_width(lm["depformer_dim"], width) for width in widths),
        norm=lm["norm"],
        weight_of=tuple(schedule),
        input_of=tuple(input_of),
        low_rank=lm["depformer_low_rank_embeddings"],
    )


def _refuse_other_networks(lm: dict[str, Any]) -> None:
    for key, plain in _PLAIN.items():
        if key in lm and lm[key] not in plain:
            raise UnsupportedModel(
                f"config.json has {key} = {lm[key]!r}, which is not supported (expected {plain[0]!r})."
            )
    unknown = sorted(set(lm) - set(MOSHI_JSON) - _ABOUT - set(_PLAIN))
    if unknown:
        logger.warning("ignoring unknown config.json keys: %s", ", ".join(unknown))


def _gated_width(dim: int, feedforward: int) -> int:
    """Hidden width of a gated feed-forward for the configured one: two thirds, for about the same cost."""
    return 21 * dim // 8 if feedforward == 4 * dim else 2 * feedforward // 3
