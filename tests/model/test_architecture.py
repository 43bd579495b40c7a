"""Rules within `model/` that import-linter can't express."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[2] / "model"
# Code that asks for the device of a tensor, or that calls functions of one kind of device.
ASKS_FOR_THE_DEVICE = r"\.is_(cuda|cpu|mps)\b|torch\.(cuda|mps|backends)\b|device\.type\b|\.cuda\("
# Names in the files of a published checkpoint.
PUBLISHED_NAMES = r"depformer_|lm_gen_config|moshi_name|mimi_name|in_proj_weight|safe_open|existing_text|\btext_card"


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (ASKS_FOR_THE_DEVICE, {"execution", "hardware", "kernels", "demo"}),
        (PUBLISHED_NAMES, {"checkpoints", "demo"}),  # demo/ writes a checkpoint in the published layout
    ],
)
def test_the_pattern_occurs_only_in_the_allowed_folders(pattern: str, allowed: set[str]):
    found = [
        f"{path.relative_to(MODEL)}:{number}: {line.strip()}"
        for path in sorted(MODEL.rglob("*.py"))
        if path.relative_to(MODEL).parts[0] not in allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found


def test_execution_does_not_name_a_mode():
    """Steppers, traces and graphs use modes only through the interface `Mode`."""
    for path in (MODEL / "execution").glob("*.py"):
        assert not re.search(r"\b[Dd]uplex", path.read_text()), path.name
