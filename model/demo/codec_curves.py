"""A plot of a training's losses, if matplotlib is installed."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(path: Path) -> None:
    """Plot every number in the JSON lines of `path` against `step`, into a PNG file beside it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:  # the JSON lines are written in any case
        return
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    names = [name for name in lines[-1] if name != "step"]
    figure = Figure(figsize=(8, 2.5 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        axes.plot([line["step"] for line in lines], [line.get(name) for line in lines])
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    figure.savefig(path.with_suffix(".png"))
