"""Make the golden tokens: run the reference over every case of cases.py.

Not part of the test suite: it needs an environment with the `moshi` package (0.2.13) from PyPI and this repository's
requirements. Only the results of the reference are stored.

usage: python -m tests.golden.make_golden [CASE …]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from moshi.models import LMGen, loaders  # type: ignore[import-not-found]
from safetensors.torch import load_file, save_file

from model.audio import FRAME_SAMPLES
from tests.golden.cases import CASES, FRAMES, PCM_STEP, Case, speech_like


def main() -> None:
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            CASES[name].write(Path(folder))
            golden = run(Path(folder), CASES[name])
        path = Path(__file__).with_name(f"{name}.safetensors")
        save_file(golden, path)
        distinct = len(set(golden["tokens"][:, 0].tolist()))
        print(f"{path.name}: {[tuple(t.shape) for t in golden.values()]}, {distinct} distinct text tokens")


@torch.no_grad()
def run(folder: Path, case: Case) -> dict[str, torch.Tensor]:
    """The codes, tokens and sound of the reference, with greedy sampling in float32."""
    config = json.loads((folder / "config.json").read_text())
    for key in ("moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "model_type"):
        config.pop(key)
    weights = folder / "model.safetensors"
    if case.depth:
        cut_depth(weights, config["dep_q"], case.depth)
        config["dep_q"] = case.depth
    lm = loaders.get_moshi_lm(weights, config, dtype=torch.float32)
    codebooks = max(config["dep_q"], config["n_q"] - config["dep_q"])
    mimi_config = json.loads((folder / "mimi_config.json").read_text())
    mimi = loaders.get_mimi(folder / "mimi.safetensors", mimi_config, num_codebooks=codebooks)
    generator = LMGen(lm, use_sampling=False)
    pcm = torch.from_numpy(speech_like().astype(np.float32) / 32768)
    codes, tokens, sound = [], [], []
    with mimi.streaming(1), generator.streaming(1):
        for frame in range(FRAMES):
            heard = mimi.encode(pcm[None, None, frame * FRAME_SAMPLES : (frame + 1) * FRAME_SAMPLES])
            codes.append(heard[0, :, 0])
            if frame == 0:
                mimi.reset_streaming()
            said = generator.step(heard)
            if said is not None:
                tokens.append(said[0, :, 0])
                sound.append(mimi.decode(said[:, 1:])[0, 0])
    return {
        "codes": torch.stack(codes, 1).to(torch.int16),
        "tokens": torch.stack(tokens).to(torch.int16),
        "pcm": torch.cat(sound)[::PCM_STEP].clone(),
    }


def cut_depth(path: Path, stored: int, kept: int) -> None:
    """Keep the first steps of a depth transformer whose projections are stacked."""
    weights = load_file(path)
    for key in list(weights):
        parts = key.split(".")
        if key.startswith("depformer.layers") and key.endswith(("in_proj_weight", "out_proj.weight")):
            weights[key] = weights[key][: weights[key].shape[0] * kept // stored].contiguous()
        elif (
            (key.startswith("depformer.layers") and ".gating." in key and int(parts[4]) >= kept)
            or (parts[0] in ("linears", "depformer_in") and int(parts[1]) >= kept)
            or (parts[0] == "depformer_emb" and int(parts[1]) >= kept - 1)
        ):
            del weights[key]
    save_file(weights, path)


if __name__ == "__main__":
    main()
