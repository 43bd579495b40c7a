"""The reference server on a CPU: `.venv-reference/bin/python reference_server.py CHECKPOINT DTYPE`.

Runs in the reference's own Python and imports nothing of ours. Three obstacles keep the published server from starting
on a CPU; all are outside the path of a frame and are removed here: its warm-up waits for a CUDA device, it has no flag
for float32 (the fastest on a CPU; its default is bfloat16), and torch.compile needs a C++ compiler, which may be
missing.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

if not any(shutil.which(compiler) for compiler in ("g++", "clang++")):
    os.environ["NO_TORCH_COMPILE"] = "1"


def main() -> None:
    directory, dtype = Path(sys.argv[1]).resolve(), sys.argv[2]
    torch = importlib.import_module("torch")
    torch.cuda.synchronize = lambda *_: None
    _load_as(getattr(torch, dtype))
    sys.argv = ["moshi.server", *_flags(directory)]
    runpy.run_module("moshi.server", run_name="__main__")


def _load_as(dtype: Any) -> None:
    info = importlib.import_module("moshi.models.loaders").CheckpointInfo
    as_published = info.get_moshi
    info.get_moshi = lambda self, **arguments: as_published(self, **(arguments | {"dtype": dtype}))


def _flags(directory: Path) -> list[str]:
    config = json.loads((directory / "config.json").read_text())
    config["mimi_config_name"] = (
        f"file://{directory / config['mimi_config_name']}"  # otherwise it downloads it from the Hub
    )
    config_path = directory / "config_for_reference.json"
    config_path.write_text(json.dumps(config))
    flags = {
        "host": "127.0.0.1",
        "port": "0",
        "device": "cpu",
        "static": "none",
        "hf-repo": "none/none",  # every file is named, so nothing is fetched
        "config-path": str(config_path),
        "moshi-weight": str(directory / config["moshi_name"]),
        "mimi-weight": str(directory / config["mimi_name"]),
        "tokenizer": str(directory / config["tokenizer_name"]),
    }
    return [argument for name, value in flags.items() for argument in (f"--{name}", value)]


if __name__ == "__main__":
    main()
