"""A transformer with every product, norm, rotation and attention in a kernel, against the same one in torch."""

from __future__ import annotations

import math

import pytest
import torch

from model.config import TransformerConfig
from model.network import attention, layers
from model.network.transformer import StreamingTransformer
from model.quantize import quantize
from model.state import clear_row_

CONFIG = TransformerConfig(
    dim=32, heads=2, layers=1, context=5, feedforward=96, norm="rms_norm_f32", gated=True, layer_scale=False
)


@pytest.mark.parametrize(
    ("weight_dtype", "kv_dtype"),
    [(torch.bfloat16, torch.bfloat16), (torch.int8, torch.int8), (torch.int8, torch.float8_e4m3fn)],
)
@torch.inference_mode()
def test_kernels_and_torch_agree(
    weight_dtype: torch.dtype, kv_dtype: torch.dtype, device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    transformer = StreamingTransformer(CONFIG).to(torch.bfloat16)
    if weight_dtype == torch.int8:
        layers.quantize_linears_(transformer, weight_dtype)
    transformer.to_empty(device=device)
    for part in transformer.modules():
        for parameter in part.parameters(recurse=False):
            values = torch.randn(parameter.shape, device=device) / math.sqrt(parameter.shape[-1])
            if isinstance(part, layers.Linear) and part.scale is not None:
                if parameter is part.weight:
                    values, scale = quantize(values, weight_dtype)
                    part.scale.copy_(scale)
                    parameter.copy_(values)
            else:
                parameter.copy_(values)
    ours, theirs = transformer.make_state(3, kv_dtype), transformer.make_state(3, kv_dtype)
    active = torch.tensor([True, False, True], device=device)
    for step in range(8):  # past the window; one slot starts in the middle of a window
        if step == 3:
            for state in (ours, theirs):
                clear_row_(state, 2)
        x = torch.randn(3, 1, 32, device=device).bfloat16()
        found = transformer(x, ours, active)
        with monkeypatch.context() as patched:
            for module in (attention, layers):
                patched.setattr(module.kernels, "available", lambda tensor: False)
            expected = transformer(x, theirs, active)
        torch.testing.assert_close(found[active], expected[active], rtol=0.05, atol=0.08)
    assert torch.equal(ours.length, theirs.length)
