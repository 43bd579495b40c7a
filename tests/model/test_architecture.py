"""Rules within `model/` that import-linter can't express."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[2] / "model"
# Which device something is on, or a call of one kind of device alone.
ASKS_FOR_THE_DEVICE = r"\.is_(cuda|cpu|mps)\b|torch\.(cuda|mps|backends)\b|device\.type\b|\.cuda\("
# Names that some family's files use.
PUBLISHED_NAMES = r"depformer_|lm_gen_config|moshi_name|mimi_name|in_proj_weight|safe_open|existing_text|\btext_card"


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (ASKS_FOR_THE_DEVICE, {"execution", "hardware", "kernels", "demo"}),
        (PUBLISHED_NAMES, {"checkpoints", "demo"}),  # demo/ trains, and writes a published checkpoint
    ],
)
def test_only_these_folders_know(pattern: str, allowed: set[str]):
    found = [
        f"{path.relative_to(MODEL)}:{number}: {line.strip()}"
        for path in sorted(MODEL.rglob("*.py"))
        if path.relative_to(MODEL).parts[0] not in allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found


def test_execution_knows_no_particular_mode():
    """Steppers, traces and graphs know modes by their seam."""
    for path in (MODEL / "execution").glob("*.py"):
        assert not re.search(r"\b[Dd]uplex", path.read_text()), path.name
