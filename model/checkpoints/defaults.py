"""The configurations of the published Moshi 7B and Mimi, as their JSON would say them.

A checkpoint without config.json is this one; keys that a config.json lacks have these values (the `moshi` package,
`models/loaders.py`).
"""

from __future__ import annotations

from typing import Any

from model.audio import SAMPLE_RATE_HZ

MIMI_JSON: dict[str, Any] = {
    "sample_rate": SAMPLE_RATE_HZ,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1,
        "dimension": 512,
        "n_filters": 64,
        "n_residual_layers": 1,
        "ratios": [8, 6, 5, 4],
        "kernel_size": 7,
        "last_kernel_size": 3,
        "residual_kernel_size": 3,
        "dilation_base": 2,
        "compress": 2,
        "activation": "ELU",
        "causal": True,
        "pad_mode": "constant",
        "true_skip": True,
    },
    "quantizer": {"dimension": 256, "n_q": 32, "bins": 2048, "input_dimension": 512, "output_dimension": 512},
    "transformer": {
        "d_model": 512,
        "num_heads": 8,
        "num_layers": 8,
        "context": 250,
        "dim_feedforward": 2048,
        "layer_scale": 0.01,
        "max_period": 10000,
        "causal": True,
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "conv_layout": True,
        "input_dimension": 512,
        "output_dimensions": [512],
    },
}

MOSHI_JSON: dict[str, Any] = {
    "dim": 4096,
    "num_heads": 32,
    "num_layers": 32,
    "hidden_scale": 4.125,
    "context": 3000,
    "max_period": 10000,
    "norm": "rms_norm_f32",
    "gating": "silu",
    "layer_scale": None,
    "causal": True,
    "positional_embedding": "rope",
    "n_q": 16,
    "dep_q": 8,
    "card": 2048,
    "text_card": 32000,
    "existing_text_padding_id": 3,
    "existing_text_end_padding_id": 0,
    "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
    "depformer_dim": 1024,
    "depformer_dim_feedforward": None,  # hidden_scale · depformer_dim
    "depformer_num_heads": 16,
    "depformer_num_layers": 6,
    "depformer_multi_linear": True,
    "depformer_weights_per_step": True,
    "depformer_weights_per_step_schedule": None,
    "depformer_low_rank_embeddings": None,
    "depformer_pos_emb": "none",
    "depformer_norm": None,
    "depformer_gating": "silu",
    "depformer_layer_scale": None,
}

# The published files, where config.json does not name others.
MOSHI_NAME = "model.safetensors"
MIMI_NAME = "tokenizer-e351c8d8-checkpoint125.safetensors"
TOKENIZER_NAME = "tokenizer_spm_32k_3.model"
