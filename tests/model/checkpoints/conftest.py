"""Checkpoints with a changed file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file


@pytest.fixture
def changed(babble_directory: Path, tmp_path: Path):
    """A function that copies the small checkpoint and changes one of the files."""

    def change(name: str, edit: Callable[[dict], object], *, again: bool = False) -> Path:
        if not again:
            shutil.copytree(babble_directory, tmp_path, dirs_exist_ok=True)
        path = tmp_path / name
        if name.endswith(".json"):
            content = json.loads(path.read_text())
            edit(content)
            path.write_text(json.dumps(content))
        else:
            tensors = load_file(path)
            edit(tensors)
            save_file(tensors, path)
        return tmp_path

    return change
