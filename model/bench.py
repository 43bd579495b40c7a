"""`python -m model.bench`, also `parley bench`: how long a step takes here, by callers and by how full windows are.

The shape is a checkpoint's or the published 7B's; the weights are random and made on the device, since a step's time
does not depend on them. Steps run as they do in the server, one after another, every caller in each; stages are timed
by themselves, outside the trace or graph that joins them. Knows no server and no sound.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import meta_model
from model.checkpoints.families import config_at
from model.checkpoints.moshi_config import duplex_config
from model.command_line import DTYPES, add_precision_flags, positive_int, print_to_any_terminal
from model.errors import ModelError
from model.execution.stepper import make_stepper
from model.execution.timing import as_graph, time_runs
from model.hardware.device import default_dtype, find_device, gpu_of, name_of, refuse_unfit, resolve_slots
from model.hardware.footprint import work
from model.hardware.roofline import FRAME_S, step_time
from model.modes.duplex import Duplex, DuplexInputs, DuplexState
from model.network.sampling import COMMON_PLAN
from model.state import rows

STAGES = ("encode", "temporal", "depth", "decode")
_STAGE_RUNS = 10

Row = dict[str, Any]


@torch.no_grad()
def make_weights_(duplex: Duplex, device: torch.device) -> None:
    """Give a model on the meta device memory on `device`, and small random weights."""
    for part in (duplex.mimi, duplex.temporal, duplex.depth):
        part.to_empty(device=device)
        for parameter in part.parameters():
            if not parameter.is_floating_point():
                parameter.random_(-127, 128)
            elif parameter.dim() == 1:
                parameter.fill_(0.01)  # norms and scales: small, so that sums stay finite
            else:
                parameter.normal_(0, 0.02)
    duplex.to(device).eval()


@torch.no_grad()
def fill_(state: DuplexState, frames: int, positions_a_frame: int) -> None:
    """Put every slot `frames` frames into a call, with the sampling that most callers choose."""
    state.delays.offset.fill_(frames)
    state.temporal.length.fill_(frames)
    for codec in (state.encoder, state.decoder):
        codec.transformer.length.fill_(frames * positions_a_frame)
    state.encoder.started.fill_(True)
    choices = state.sampling
    for temperature, top_k, value, most in (
        (choices.text_temperature, choices.text_top_k, 0.7, 25),
        (choices.audio_temperature, choices.audio_top_k, 0.8, 250),
    ):
        temperature.fill_(value)
        top_k.fill_(most)


@torch.inference_mode()
def measure(
    duplex: Duplex, kv_dtype: torch.dtype | None, callers: Sequence[int], fills: Sequence[float], steps: int
) -> Iterator[Row]:
    """One row for each fill (a share of the context) and number of callers, as they are measured."""
    device = duplex.delays.delays.device
    state = duplex.make_state(max(callers), kv_dtype)
    stepper = make_stepper(duplex, state, sorted(callers))
    gpu = gpu_of(device)
    for fill in fills:
        frames = max(1, round(fill * duplex.config.temporal.context))
        for count in callers:
            fill_(state, frames, duplex.mimi.config.downsample)
            pcm, active = torch.randn(count, FRAME_SAMPLES) * 0.1, torch.ones(count, dtype=torch.bool)

            def step(pcm: torch.Tensor = pcm, active: torch.Tensor = active, frames: int = frames) -> None:
                stepper.begin(DuplexInputs(pcm), active, COMMON_PLAN, frames)()

            taken_s = time_runs(step, device, steps)
            planned_s = step_time(work(duplex, kv_dtype, frames), gpu, count).total_s if gpu else None
            yield {
                "callers": count,
                "frames": frames,
                "step_s": dict(zip(("p50", "p99", "max"), np.percentile(taken_s, (50, 99, 100)).tolist(), strict=True)),
                "stages_s": _stages_s(duplex, rows(state, count), frames),
                "planned_s": planned_s,
            }


def _stages_s(duplex: Duplex, state: DuplexState, longest: int) -> dict[str, float]:
    """The median of each stage."""
    config, device, slots = duplex.config, duplex.delays.delays.device, len(state.delays.offset)
    pcm, active = torch.randn(slots, FRAME_SAMPLES, device=device) * 0.1, torch.ones(slots, device=device) > 0
    column = torch.zeros(slots, 1, 1 + config.n_q, dtype=torch.int64, device=device)
    hidden = torch.zeros(slots, config.temporal.dim, dtype=duplex.temporal.text_embedding.dtype, device=device)
    runs: dict[str, Callable[[], object]] = {
        "encode": lambda: duplex.mimi.encode(pcm, state.encoder, active),
        "temporal": lambda: duplex.temporal(column, state.temporal, active, longest),
        "depth": lambda: duplex.depth.generate(column[:, 0, 0], hidden, lambda logits, _: logits.argmax(-1)),
        "decode": lambda: duplex.mimi.decode(column[..., 1 : 1 + config.dep_q], state.decoder, active),
    }
    timed_s = {name: time_runs(as_graph(runs[name], device), device, _STAGE_RUNS) for name in STAGES}
    return {name: float(np.median(stage_s)) for name, stage_s in timed_s.items()}


def table_lines(measured: Iterable[Row]) -> Iterator[str]:
    """A table in ms, a line for each row as it is measured. `all / one`: this step's time over that of one caller."""
    yield f"{'callers':>7} {'window':>7}  {'step p50':>8} {'p99':>7} {'all / one':>9}  " + "".join(
        f"{name:>10}" for name in (*STAGES, "by plan")
    )
    alone: dict[int, float] = {}
    for row in measured:
        step, planned = row["step_s"], row["planned_s"]
        if row["callers"] == 1:
            alone[row["frames"]] = step["p50"]
        times = f"{step['p50'] / alone[row['frames']]:.1f}×" if row["frames"] in alone else "-"
        stages = "".join(f"{1e3 * row['stages_s'][name]:10.2f}" for name in STAGES)
        yield (
            f"{row['callers']:7} {row['frames']:7,}  {1e3 * step['p50']:8.2f} {1e3 * step['p99']:7.2f} {times:>9}  "
            f"{stages}{f'{1e3 * planned:.2f}' if planned else '-':>10}"
        )


def draw(figures: dict[str, Any], path: Path) -> None:
    """Step over callers, a line for each window; needs matplotlib, which raises ImportError where it is missing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for frames in dict.fromkeys(row["frames"] for row in figures["rows"]):
        of_window = [row for row in figures["rows"] if row["frames"] == frames]
        callers = [row["callers"] for row in of_window]
        (line,) = axes.plot(
            callers, [1e3 * row["step_s"]["p50"] for row in of_window], "o-", label=f"{frames:,} frames"
        )
        axes.plot(callers, [1e3 * row["step_s"]["p99"] for row in of_window], ":", color=line.get_color())
        if all(row["planned_s"] for row in of_window):
            axes.plot(callers, [1e3 * row["planned_s"] for row in of_window], "--", color=line.get_color(), alpha=0.5)
    axes.axhline(1e3 * FRAME_S, color="gray", linewidth=0.8)
    axes.set(xlabel="callers", ylabel="a step, ms (dotted: p99; dashed: by plan)", title=figures["title"], ylim=0)
    axes.legend(title="behind each caller")
    figure.savefig(path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shape", nargs="?", type=Path, metavar="PATH", help="checkpoint directory or config.json (default: Moshi 7B)"
    )
    group = parser.add_argument_group("what is measured")
    group.add_argument(
        "--callers", type=_numbers(int), metavar="N,…", default=[1, 2, 4, 8, 16], help="rows (default 1,2,4,8,16)"
    )
    group.add_argument(
        "--fills", type=_numbers(float), metavar="N,…", default=[0.1, 1.0], help="shares of a window (default 0.1,1)"
    )
    group.add_argument("--steps", type=positive_int, metavar="N", default=100, help="of each row (default %(default)s)")
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to run (default auto)")
    add_precision_flags(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--json", type=Path, metavar="PATH", help="write the rows to this file too, in seconds")
    group.add_argument("--plot", type=Path, metavar="PATH", help="draw them: .svg, .png or .pdf (needs matplotlib)")
    group.add_argument("--rows", type=Path, metavar="PATH", help="measure nothing; read the rows of such a --json file")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write and draw; the exit status."""
    try:
        figures = json.loads(args.rows.read_text()) if args.rows else _figures(args)
        if args.rows:
            print(figures["title"], *table_lines(figures["rows"]), sep="\n")
        if args.json:
            args.json.write_text(json.dumps(figures, indent=1) + "\n")
        if args.plot:
            draw(figures, args.plot)
    except (ModelError, OSError, ValueError) as error:
        print(f"parley bench: {error}", file=sys.stderr)
        return 1
    except ImportError:
        print("parley bench: a plot needs matplotlib: pip install matplotlib, or --json, and --rows where it is.")
        return 1
    return 0


def _figures(args: argparse.Namespace) -> dict[str, Any]:
    device = find_device(args.device)
    dtype = default_dtype(device)
    refuse_unfit(device, dtype)
    weight_dtype, kv_dtype = DTYPES[args.quantization], DTYPES[args.kv_cache_dtype]
    duplex = meta_model(config_at(args.shape) if args.shape else duplex_config(None, None), dtype, weight_dtype)
    resolve_slots(device, duplex, kv_dtype, max(args.callers), default=1, remedy="measure fewer --callers")
    make_weights_(duplex, device)
    held = [f"{what} {choice}" for what, choice in (("weights", weight_dtype), ("keys", kv_dtype)) if choice]
    chip = name_of(device)
    numbers = ", ".join([str(dtype), *held]).replace("torch.", "")
    title = f"{args.shape if args.shape else 'Moshi 7B'} in {numbers} on {chip}, torch {torch.__version__}"
    print(title)
    measured: list[Row] = []

    def kept() -> Iterator[Row]:
        for row in measure(duplex, kv_dtype, sorted(args.callers), args.fills, args.steps):
            measured.append(row)
            yield row

    for line in table_lines(kept()):
        print(line, flush=True)
    return {"title": title, "date": time.strftime("%Y-%m-%d"), "chip": chip, "rows": measured}


def _numbers(kind: type[int] | type[float]) -> Callable[[str], list[Any]]:
    def numbers(text: str) -> list[Any]:
        values = [kind(part) for part in text.split(",")]
        if not all(value > 0 for value in values):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return values

    numbers.__name__ = f"list of {kind.__name__}"
    return numbers


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m model.bench`."""
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.bench", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
